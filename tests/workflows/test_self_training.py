"""Rounds over unlabelled photos: what is made, what is kept when a run is killed, and when it
ends.
"""

import csv
import dataclasses
import json
import pathlib
import shutil
import signal
import time

import pytest

import processes
import toy
from fastseek.data.datasets.manifest import Manifest
from fastseek.errors import ArtefactError, DataError, UsageError
from fastseek.inference.embed_parts import together
from fastseek.io import stage_record
from fastseek.structures.job_part import ALL, JobPart
from fastseek.workflows.self_training import context as rounds_context
from fastseek.workflows.self_training import models as rounds_models
from fastseek.workflows.self_training import round as rounds_work
from fastseek.workflows.self_training import run as rounds
from fastseek.workflows.self_training import spec as rounds_plan
from fastseek.workflows.self_training.images import ImagePools

ROOT = pathlib.Path(__file__).parents[2]
RECIPE = """
PLUGINS: ["fastseek"]
MODEL: {META_ARCHITECTURE: Seeker, DEVICE: cpu}
SOLVER: {OPT: SGD, IMS_PER_BATCH: 6, MAX_EPOCH: 1, BASE_LR: 0.01, WARMUP_ITERS: 0}
DATALOADER: {NUM_WORKERS: 0}
TEST: {IMS_PER_BATCH: 32}
SEEK:
  BACKBONE: "timm(name='test_efficientnet', stages=(2,))"
  BRANCHES: ["gem(on='s2', dim=16)"]
  LOSSES: ["cross_entropy(on='gem')", "prototype(on='gem')"]
  TRAIN: ["resize(32)"]
  TEST: ["resize(32)"]
  METRICS: ["recall(1)"]
"""
PLAN = """
NAME: toy rounds
RECIPE: toy.yml
DATA: {{HIDE: "folder('{photos}')", CLASSES: 3, SHOTS: [2, 4], FOLDER: 0}}
ROUNDS: 2
STOP: {{GAIN: -1}}
SHORT: {{ROUNDS: 1}}
STEPS:
  - {{NAME: start, DO: train, FROM: none, ONCE: true}}
  - {{NAME: embed, DO: embed}}
  - {{NAME: clusters, DO: cluster, PER: 8, ENHANCE: ["pca(dim=8)", "l2()"]}}
  - {{NAME: kept, DO: select, SIZE: [2, 50], COMPACT: 0, MARGIN: 0}}
  - {{NAME: pretrained, DO: train, PHOTOS: [kept], FROM: none}}
  - {{NAME: tuned, DO: train, SET: {{SEEK.FREEZE: ["blocks(1)", "norms"], SEEK.RATES: ["layer_decay: 0.75"]}}}}
  - {{NAME: embed2, DO: embed}}
  - {{NAME: classify, DO: classify}}
  - {{NAME: pseudo, DO: pseudo, THRESHOLD: [0.2, 0.1], PROTOTYPE: 5}}
  - {{NAME: again, DO: recluster, PHOTOS: pseudo, PER: 10}}
  - {{NAME: kept2, DO: select, SIZE: [1, 50], COMPACT: 0, MARGIN: 0}}
  - {{NAME: second, DO: train, PHOTOS: [labelled, kept2], FROM: pretrained}}
  - {{NAME: final, DO: train, SET: {{SEEK.SAMPLER: "imbalanced()", SEEK.FREEZE: ["backbone"]}}}}
"""


@pytest.fixture(scope="module", autouse=True)
def _no_sweeping():
    """After every training garbage is collected; with a test suite in memory that takes longer than
    the training.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fastseek.workflows.plan.run.gc.collect", lambda: 0)
        yield


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """9 classes with 8 photos to learn from and 2 to validate with."""
    return toy.gallery(tmp_path_factory.mktemp("many"), classes=9, train=8, query=2, size=36)


@pytest.fixture
def home(tmp_path, many):
    """A folder with a recipe and a plan."""
    (tmp_path / "toy.yml").write_text(RECIPE)
    (tmp_path / "plan.yml").write_text(PLAN.format(photos=many))
    return tmp_path


@pytest.fixture(scope="module")
def done(tmp_path_factory, many):
    """A whole run, not to be changed."""
    folder = tmp_path_factory.mktemp("done")
    (folder / "toy.yml").write_text(RECIPE)
    (folder / "plan.yml").write_text(PLAN.format(photos=many))
    told = rounds.run_rounds(folder / "plan.yml", folder / "out")
    return folder, told


def results(folder):
    return json.loads((folder / "out" / "results.json").read_text())["rows"]


def without_time(rows):
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def test_every_step_is_a_row_in_order_and_the_first_step_comes_once(done):
    """finegrained row 88."""
    names = [
        line.split("NAME: ")[1].split(",")[0] for line in PLAN.splitlines() if "{{NAME" in line
    ]
    assert [row["name"] for row in results(done[0])] == [
        *(f"round 1: {name}" for name in names),
        *(f"round 2: {name}" for name in names[1:]),
    ]


def test_trainings_are_measured_with_intervals_and_choices_by_what_was_hidden(done):
    """finegrained rows 81, 83 and 88."""
    rows = {row["name"]: row for row in results(done[0])}
    assert set(rows["round 1: tuned"]["metrics"]) == {"top(1)", "prototype top(1)"}
    assert "top(1)" in rows["round 2: final"]["interval"]
    assert set(rows["round 1: pretrained"]["metrics"]) == {"prototype top(1)"}
    assert {"purity", "inside precision", "inside recall"} <= set(rows["round 1: kept"]["metrics"])
    assert {
        "labelled",
        "inside precision",
        "inside recall",
        "label precision",
        "label recall",
    } == set(rows["round 1: pseudo"]["metrics"])
    for name, share in (("kept", "kept"), ("pseudo", "labelled")):
        assert 0 < rows[f"round 1: {name}"]["metrics"][share] <= 1
    assert {"purity", "label precision"} <= set(rows["round 1: kept2"]["metrics"])


def test_every_artefact_tells_its_round(done):
    """finegrained row 88."""
    out = done[0] / "out"
    for number in (1, 2):
        made = [
            path.name
            for path in (out / f"round{number}").rglob("*")
            if path.suffix in (".csv", ".safetensors") and not path.name.startswith("model_")
        ]
        assert made and all(
            name.startswith(f"round{number}.") or name in ("rejects.csv", "ids.safetensors")
            for name in made
        )
    with open(out / "round2" / "pseudo" / "round2.pseudo.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    model = json.loads((out / "round2" / "classify" / "stage.json").read_text())["results"]["model"]
    assert {row["round"] for row in rows} == {"2"} and {row["model"] for row in rows} == {model}
    assert all((row["accepted"] == "yes") == (row["why"] == "") for row in rows)


def test_hidden_labels_teach_nobody(done):
    out = done[0] / "out"
    hidden = {
        row["id"]: row["label"] for row in csv.DictReader((out / "photos" / "truth.csv").open())
    }
    labelled = {
        item.label for item in Manifest(str(next((out / "photos").glob("round0.labelled.*")))).items
    }
    for path in (out / "round1" / "photos").glob("*.csv"):
        for item in Manifest(str(path)).items:
            assert item.group == "" and item.split == "train"
            assert item.label in labelled or item.label.startswith("cluster ")
            if item.id not in hidden:
                assert item.meta["source"] in ("labelled", "kept", "kept2", "pseudo")
    taught = {
        path.name.split(".")[1]: Manifest(str(path)).items
        for path in (out / "round1" / "photos").glob("*.csv")
    }
    assert {item.label for item in taught["tuned"]} == labelled
    assert {item.label[:8] for item in taught["pretrained"]} == {"cluster "}


def test_cluster_ids_give_a_backbone_that_the_next_training_starts_from(done):
    """finegrained row 82."""
    from safetensors.torch import load_file

    out = done[0] / "out" / "round1"
    book = json.loads((out / "plan.json").read_text())["steps"]
    entry = {step["name"]: step for step in book}
    assert (
        entry["tuned"]["from"] == entry["pretrained"]["weights"]
        and entry["pretrained"]["from"] == ""
    )
    assert entry["second"]["from"] == entry["pretrained"]["weights"]
    weights = {
        name: load_file(out / name / "model_final.safetensors") for name in ("pretrained", "tuned")
    }
    still = [name for name in weights["tuned"] if "blocks.0" in name or "bn1" in name]
    assert still and all(
        (weights["tuned"][name] == weights["pretrained"][name]).all() for name in still
    )


def test_the_second_stage_moves_only_what_stands_behind_the_backbone(done):
    """finegrained rows 86 and 87, trap 12."""
    from safetensors.torch import load_file

    out = done[0] / "out" / "round1"
    second, final = (
        load_file(out / name / "model_final.safetensors") for name in ("second", "final")
    )
    moved = {
        name
        for name in final
        if name in second
        and final[name].shape == second[name].shape
        and not (final[name] == second[name]).all()
    }
    assert moved and not any(name.startswith("backbone") for name in moved)


def test_the_page_and_the_record_of_the_rounds_are_there(done):
    folder, told = done
    page = (folder / "out" / "report.html").read_text()
    assert "toy rounds" in page and "round 2: final" in page
    record = json.loads((folder / "out" / "rounds.json").read_text())
    assert [one["round"] for one in record["rounds"]] == [0, 1, 2] and (
        folder / "out" / record["best"]
    ).exists()
    assert record["outside"] > 0.6 and "all 2 rounds are done" in told
    best = max(record["rounds"], key=lambda one: (one["figure"], -one["round"]))
    assert record["best"] == f"{best['training']}/model_final.safetensors"


def test_a_finished_run_does_nothing_again(done, monkeypatch):
    """finegrained row 88."""
    before = (done[0] / "out" / "results.json").read_bytes()
    monkeypatch.setattr(
        rounds_work.Round, "_work", lambda *args: pytest.fail("it was done already")
    )
    rounds.run_rounds(done[0] / "plan.yml", done[0] / "out")
    assert (done[0] / "out" / "results.json").read_bytes() == before


def test_parts_that_wait_for_each_other_make_what_one_process_made(done, tmp_path, monkeypatch):
    shutil.copytree(done[0] / "out", tmp_path / "out")
    for name in ("vectors", "unlabelled", "validation"):
        for folder in (tmp_path / "out").rglob(name):
            shutil.rmtree(folder)
    jobs, worked = [], []
    real, work = together.store_part, rounds_work.Round._work

    def remember(*given):
        jobs.append(given[:3])
        return real(*given)

    monkeypatch.setattr(together, "store_part", remember)
    # While a process waits, the other one does its part.
    monkeypatch.setattr(
        together.time, "sleep", lambda seconds: real(*jobs[-1], JobPart(1, 2), False)
    )
    monkeypatch.setattr(
        rounds_work.Round, "_work", lambda *given: worked.append(given[1].kind) or work(*given)
    )
    command = (done[0] / "plan.yml", tmp_path / "out")
    rounds.run_rounds(*command, short=True, part=JobPart(0, 2))
    assert set(worked) == {"embed", "classify"}
    assert bytes_of(tmp_path / "out" / "round1") == bytes_of(done[0] / "out" / "round1")


def bytes_of(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.suffix in (".npy", ".safetensors")
    }


class Killed(BaseException):
    pass


def killing_after(steps, seen):
    """A step that is done unless so many have been."""
    work = rounds_work.Round._work

    def one(self, step, folder):
        if len(seen) >= steps:
            raise Killed
        seen.append(step.name)
        return work(self, step, folder)

    return one


def test_a_run_killed_again_and_again_ends_as_one_that_was_not(home, done, monkeypatch):
    """finegrained row 88."""
    running = processes.start(
        "grow.py", "--plan", home / "plan.yml", "--out", home / "out", "--short"
    )
    while not (home / "out" / "round1" / "pretrained" / "config.yaml").exists():
        assert running.poll() is None
        time.sleep(0.02)
    running.send_signal(signal.SIGKILL)
    running.wait()
    seen = []
    for kills in range(9):
        with monkeypatch.context() as patch:
            patch.setattr(rounds_work.Round, "_work", killing_after(4 * kills, seen))
            try:
                rounds.run_rounds(home / "plan.yml", home / "out", short=True)
                break
            except Killed:
                continue
    assert seen[0] == "pretrained" and len(seen) == len(set(seen)) and kills > 2
    assert without_time(results(home)) == without_time(results(done[0]))[: len(results(home))]


def first_to_do(folder, plan, monkeypatch):
    """Which step a run would begin with; None when all is done."""
    seen = []
    with monkeypatch.context() as patch:
        patch.setattr(
            rounds_work.Round,
            "_work",
            lambda self, step, folder: seen.append(step.name) or killed(),
        )
        try:
            rounds.run_rounds(folder / plan, folder / "out", short=True)
        except Killed:
            return seen[0]
    return None


def killed():
    raise Killed


@pytest.fixture
def spared(done, tmp_path):
    """The finished run, for a test that begins steps of it anew; others find it as it was."""
    shutil.copytree(done[0] / "out", tmp_path / "out")
    yield done
    shutil.rmtree(done[0] / "out")
    shutil.copytree(tmp_path / "out", done[0] / "out")


@pytest.mark.parametrize(
    ("old", "new", "step"),
    [
        ("imbalanced()", "shuffle()", "final"),
        ("THRESHOLD: [0.2", "THRESHOLD: [0.3", "pseudo"),
        ("RECIPE: toy.yml", "RECIPE: toy.yml\nSEED: 5", "start"),
        ("PER: 8", "PER: 9", "clusters"),
    ],
)
def test_what_a_plan_changes_is_done_again_and_nothing_before_it(
    spared, monkeypatch, old, new, step
):
    """finegrained row 88."""
    text = (spared[0] / "plan.yml").read_text()
    assert old in text
    (spared[0] / "other.yml").write_text(text.replace(old, new))
    assert first_to_do(spared[0], "other.yml", monkeypatch) == step


@pytest.mark.parametrize(
    ("damaged", "step"),
    [
        ("pseudo/round1.pseudo.csv", "pseudo"),
        ("kept/round1.choice.csv", "kept"),
        ("tuned/config.yaml", "tuned"),
        ("embed/vectors/00000.vectors.npy", "embed"),
        ("clusters/features/00000.vectors.npy", "clusters"),
        ("classify/unlabelled/00000.vectors.npy", "classify"),
    ],
)
def test_F49_a_damaged_artefact_is_made_again(spared, monkeypatch, damaged, step):
    """finegrained row 88."""
    path = spared[0] / "out" / "round1" / damaged
    whole = path.read_bytes()
    try:
        path.write_bytes(whole[:-1])
        assert first_to_do(spared[0], "plan.yml", monkeypatch) == step
    finally:
        path.write_bytes(whole)


def test_F49_vectors_of_an_older_run_are_compared_with_their_hashes_before_they_are_read(
    done, tmp_path
):
    folder = tmp_path / "embed"
    shutil.copytree(done[0] / "out" / "round1" / "embed", folder)
    # its record listed the manifest alone
    stage = stage_record.Stage(folder, "", {"vectors/manifest.json": ""}, {})
    pools = ImagePools((), (), (), {})
    context = rounds_context.RoundContext(pools, 1, 0, {"@embed": stage})
    assert len(context.features()) == 72
    path = folder / "vectors" / "00000.vectors.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"\1")
    with pytest.raises(ArtefactError, match="00000.vectors.npy"):
        context.features()


def test_F54_a_round_that_accepts_nothing_says_so_and_its_rows_tell_what_was_chosen(done, home):
    text = (home / "plan.yml").read_text()
    steps = [
        line
        for line in text.splitlines()
        if any(
            f"NAME: {name}," in line for name in ("start", "embed", "classify", "pseudo", "final")
        )
    ]
    head = text.split("STEPS:")[0] + "STEPS:\n"
    text = head + "\n".join(steps).replace("THRESHOLD: [0.2, 0.1]", "THRESHOLD: 1.0") + "\n"
    (home / "plan.yml").write_text(text.replace("ROUNDS: 2", "ROUNDS: 1"))
    told = rounds.run_rounds(home / "plan.yml", home / "out")
    words = "round 1: pseudo: none of "
    assert words in told and "images is labelled: loosen the rules that choose" in told
    rows = {row["name"]: row for row in results(home)}
    assert rows["round 1: pseudo"]["metrics"]["labelled"] == 0
    assert words in rounds.run_rounds(home / "plan.yml", home / "out"), "again when it is finished"


def test_rounds_end_when_one_gains_too_little(done, tmp_path):
    """finegrained row 88."""
    plan = rounds_plan.read_rounds(done[0] / "plan.yml")
    figures = iter([0.5, 0.6, 0.7, 0.701])

    class Fake:
        def __init__(self, number):
            self.number = number

        def do(self, step):
            value = next(figures) if step.name in ("start", "final") else 0.0
            metrics = {"top(1)": value} if step.name in ("start", "final") else {}
            return stage_record.Stage(
                tmp_path,
                "",
                {},
                {
                    "kind": step.kind,
                    "figure": value,
                    "row": {"name": step.name, "metrics": metrics},
                },
            )

    run = rounds._Run(
        dataclasses.replace(plan, stop=rounds_plan.StopSpec(gain=0.002), rounds=9),
        None,
        tmp_path,
        (),
        ALL,
    )
    assert [run._round(Fake(number), number) for number in (1, 2, 3)] == [True, True, False]
    assert "round 3 gained 0.10 points" in run.why


def test_rounds_end_when_the_pseudo_labels_stay(done, tmp_path):
    """finegrained row 64."""
    plan = dataclasses.replace(
        rounds_plan.read_rounds(done[0] / "plan.yml"),
        stop=rounds_plan.StopSpec(changed=0.01, gain=-1.0),
        rounds=9,
    )

    class Fake:
        def __init__(self, share):
            self.share = share

        def do(self, step):
            train = step.kind == "train"
            more = {"changed": self.share} if step.kind == "pseudo" else {}
            return stage_record.Stage(
                tmp_path,
                "",
                {},
                {
                    "kind": step.kind,
                    "figure": 0.5,
                    **more,
                    "row": {"name": step.name, "metrics": {"top(1)": 0.5} if train else {}},
                },
            )

    run = rounds._Run(plan, None, tmp_path, (), ALL)
    assert [
        run._round(Fake(share), number) for number, share in ((1, 0.0), (2, 0.02), (3, 0.005))
    ] == [True, True, False]
    assert "0.50%" in run.why


def test_a_pseudo_label_loop_over_test_photos_needs_the_switch(home, many):
    """finegrained rows 64 and 65, trap 25."""
    (home / "plan.yml").write_text(f"""
RECIPE: toy.yml
DATA: {{LABELLED: "folder('{many}')", UNLABELLED: "folder('{many}')", SPLIT: query}}
ROUNDS: 2
STOP: {{GAIN: -1, CHANGED: 2}}
STEPS:
  - {{NAME: start, DO: train, FROM: none, ONCE: true}}
  - {{NAME: classify, DO: classify}}
  - {{NAME: pseudo, DO: pseudo, THRESHOLD: 0.1, QUANTILE: [0, 0.5], CAP: 3, PROTOTYPE: 0, CALIBRATE: false}}
  - {{NAME: scratch, DO: train, PHOTOS: [labelled, pseudo], FROM: none}}
""")
    with pytest.raises(UsageError, match="TEST_DATA"):
        rounds.run_rounds(home / "plan.yml", home / "out")
    assert not (home / "out" / "round1").exists()
    text = (home / "plan.yml").read_text().replace("SPLIT: query", "SPLIT: query, TEST_DATA: true")
    (home / "plan.yml").write_text(text)
    told = rounds.run_rounds(home / "plan.yml", home / "out")
    assert "round 2 changed" in told
    names = [row["name"] for row in results(home)]
    assert names[-1] == "round 2: pseudo" and "round 1: scratch" in names
    table = next((home / "out" / "round1" / "photos").glob("round1.scratch.*.csv"))
    items = Manifest(str(table)).items
    assert {item.meta["source"] for item in items} == {"labelled", "pseudo"}
    book = json.loads((home / "out" / "round1" / "plan.json").read_text())["steps"]
    assert {step["from"] for step in book} == {""}
    why = [
        (home / "out" / f"round{n}" / "pseudo" / f"round{n}.pseudo.csv").read_text() for n in (1, 2)
    ]
    assert "quantile: " not in why[0] and "confidence: " not in why[1]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("DO: embed}", "DO: embeds}", r"plan.yml:10: STEPS.1..DO must be one of train, embed"),
        ("NAME: embed2", "NAME: embed", "NAME 'embed'"),
        ("PHOTOS: [kept]", "PHOTOS: [later]", "PHOTOS are"),
        ("FROM: pretrained", "FROM: nobody", "FROM 'nobody'"),
        ("PER: 8", "PERS: 8", r"plan.yml:11: there is no key STEPS.2..PERS; .*did you mean PER"),
        ("PER: 8", "PER: many", r"plan.yml:11: STEPS.2..PER must be a number, got .many"),
        ("ROUNDS: 2", "ROUNDS: 0", "plan.yml:5: ROUNDS must be a whole number >= 1, got 0"),
        ("SHOTS: [2, 4]", "SHOTS: [2, 4, 5]", "DATA.SHOTS must be"),
        ("layer_decay: 0.75", "layer_decay: 7", "layer_decay"),
        ("l2()", "l3()", "l3"),
        ("SHOTS: [2, 4]", 'LABELLED: "x", SHOTS: [2, 4]', "DATA names either"),
        ("  - {NAME: embed, DO: embed}\n", "", "needs a step before it"),
    ],
)
def test_a_wrong_plan_is_told_before_anything_is_trained(home, old, new, told):
    text = (home / "plan.yml").read_text()
    assert old in text
    (home / "plan.yml").write_text(text.replace(old, new, 1))
    with pytest.raises(UsageError, match=told):
        rounds_plan.read_rounds(home / "plan.yml")


def test_a_plan_without_unlabelled_photos_is_told(home, many):
    (home / "plan.yml").write_text(
        (home / "plan.yml")
        .read_text()
        .replace("HIDE: ", f"LABELLED: \"folder('{many}')\", UNLABELLED: ")
    )
    text = (home / "plan.yml").read_text().replace(", CLASSES: 3, SHOTS: [2, 4], FOLDER: 0", "")
    (home / "plan.yml").write_text(text)
    with pytest.raises(DataError, match="no unlabelled"):
        rounds.run_rounds(home / "plan.yml", home / "out")


def test_the_nearest_class_mean_judges_a_model_of_other_classes(done):
    model = rounds_models.latest_training(done[0] / "out" / "round1" / "pretrained")
    plan = rounds_plan.read_rounds(done[0] / "plan.yml")
    scores = rounds_models.judge_model(
        model, rounds.image_pools_of(plan, done[0] / "again"), ["top(1)"]
    )
    assert [score.name for score in scores] == [rounds_models.PROTOTYPE]
