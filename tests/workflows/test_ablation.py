"""Ablations: the file, what is trained and what is not, the table."""

import json
import multiprocessing
import pathlib
import runpy
import sys

import numpy as np
import pytest

from fastseek.config import recipe
from fastseek.errors import RunError, UsageError
from fastseek.inference import embedding
from fastseek.inference.embed_images import load_model
from fastseek.metrics._paired import gain
from fastseek.structures import Score
from fastseek.workflows.ablation import jobs
from fastseek.workflows.ablation import train as ablation_work
from fastseek.workflows.ablation.run import ablate_file
from fastseek.workflows.ablation.spec import read_ablation
from fastseek.workflows.ablation.table import StepScores, rows, text

ROOT = pathlib.Path(__file__).parents[2]
RECIPE = """
PLUGINS: ["fastseek"]
MODEL: {META_ARCHITECTURE: Seeker, DEVICE: cpu}
DATASETS: {NAMES: ["folder('PHOTOS')"], TESTS: ["folder('PHOTOS')"]}
SOLVER: {IMS_PER_BATCH: 12, MAX_EPOCH: 1, BASE_LR: 0.003, WARMUP_ITERS: 0}
DATALOADER: {NUM_WORKERS: 0}
SEEK:
  BACKBONE: "timm(name='test_efficientnet', stages=(4,))"
  BRANCHES: ["gem(dim=16)"]
  LOSSES: ["cross_entropy(on='gem')"]
  TRAIN: ["resize(32)"]
  TEST: ["resize(32)"]
  SEARCH: "exact(k=36)"
  METRICS: ["gap()"]
"""
ABLATION = """
NAME: A tiny ablation
BASE: tiny.yml
METRICS: ["recall(1)", "map"]
SEEDS: [0]
LONG: {SEEDS: [0, 1], STEPS: {larger: {SEEK.TEST: ["resize(44)"]}}}
STEPS:
  - NAME: baseline
  - NAME: "+ flip"
    ADD: {SEEK.TRAIN: ["hflip(0.5)"]}
  - NAME: larger
    ALONE: true
    SET: {SEEK: {TEST: ["resize(40)"]}}
  - NAME: "+ re-ranking"
    SET: {SEEK.RERANK: ["k_reciprocal(k1=6, k2=2)"]}
"""


@pytest.fixture
def files(photos, tmp_path):
    (tmp_path / "tiny.yml").write_text(RECIPE.replace("PHOTOS", str(photos)))
    path = tmp_path / "ablation.yml"
    path.write_text(ABLATION)
    return path


@pytest.fixture(scope="module")
def finished(photos, tmp_path_factory):
    home = tmp_path_factory.mktemp("ablation")
    (home / "tiny.yml").write_text(RECIPE.replace("PHOTOS", str(photos)))
    (home / "ablation.yml").write_text(ABLATION)
    told = ablate_file(home / "ablation.yml", home / "out", long=True)
    return home, told


def opts(step):
    return dict(zip(step.opts[::2], step.opts[1::2], strict=True))


def test_a_step_has_the_changes_of_those_before_and_one_alone_passes_nothing_on(files):
    """finegrained row 21."""
    first, flip, larger, last = read_ablation(files).steps
    assert opts(first) == {"SEEK.METRICS": ["recall(1)", "map"]}
    assert opts(flip)["SEEK.TRAIN"] == ["resize(32)", "hflip(0.5)"] == opts(last)["SEEK.TRAIN"]
    assert opts(larger)["SEEK.TEST"] == ["resize(40)"] and "SEEK.TEST" not in opts(last)
    assert [step.before for step in (first, flip, larger, last)] == [None, 0, 1, 1]


def test_a_step_is_compared_with_the_earlier_one_it_names(files):
    named = "ALONE: true\n    OVER: baseline"
    files.write_text(files.read_text().replace("ALONE: true", named))
    steps = read_ablation(files).steps
    assert [step.before for step in steps] == [None, 0, 0, 1]
    assert opts(steps[2])["SEEK.TRAIN"] == ["resize(32)", "hflip(0.5)"]


def test_the_long_setting_and_the_command_line_reach_every_step(files):
    long = read_ablation(files, True, ["SOLVER.MAX_EPOCH", "3"])
    assert long.seeds == (0, 1) and read_ablation(files).seeds == (0,)
    assert all(opts(step)["SOLVER.MAX_EPOCH"] == "3" for step in long.steps)
    assert (
        opts(long.steps[2])["SEEK.TEST"]
        == ["resize(44)"]
        != opts(read_ablation(files).steps[2])["SEEK.TEST"]
    )


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("NAME: baseline", "NAMES: baseline", r"ablation.yml:8: a step is a mapping with a NAME"),
        (
            "ALONE: true",
            "ALONE: 1",
            r"ablation.yml:12: STEPS\[2\].ALONE must be true or false, got 1",
        ),
        (
            "SEEDS: [0]\n",
            "SEEDS: [0, 0]\n",
            r"ablation.yml:5: SEEDS must be different whole numbers",
        ),
        ("SEEDS: [0, 1]", "SEEDS: [-1]", r"ablation.yml:6: LONG.SEEDS must be different"),
        (
            "hflip(0.5)",
            "hflap(0.5)",
            r"ablation.yml:9: step '\+ flip': .*ablation.yml:10: .*no transform is called 'hflap'",
        ),
        (
            "SEEK.TRAIN: [",
            "SEEK.TRIAN: [",
            r"ablation.yml:10: ADD SEEK.TRIAN: there is no such key",
        ),
        (
            "ADD: {SEEK.TRAIN",
            "ADD: {SEEK.SEARCH",
            r"ablation.yml:10: ADD SEEK.SEARCH: both .* must be lists",
        ),
        ('"map"]', '"mapp"]', r"ablation.yml:4: no metric is called 'mapp'"),
        (
            'NAME: "+ re-ranking"',
            "NAME: baseline",
            r"ablation.yml:14: two steps are called 'baseline'",
        ),
        ("BASE: tiny.yml", "BASE: absent.yml", r"ablation.yml:8: step 'baseline': .*absent.yml"),
        ("BASE: tiny.yml\n", "", "BASE .* and STEPS .* are needed"),
        ("{larger: ", "{smaller: ", "ablation.yml:6: 'smaller': expected the name of a step"),
        ("ALONE: true", "PLAN: absent.yml", r"ablation.yml:12: PLAN absent.yml is not there"),
        (
            "ALONE: true",
            'OVER: "+ re-ranking"',
            r"ablation.yml:12: OVER '\+ re-ranking': expected the name of an earlier step; they are baseline, \+ flip",
        ),
        (
            "NAME: A tiny",
            "TITLE: A tiny",
            r"ablation.yml:2: there is no key TITLE; known: NAME, BASE",
        ),
    ],
)
def test_what_is_wrong_with_the_file_is_told_with_its_line_before_anything_is_trained(
    files, old, new, told
):
    assert old in files.read_text()
    files.write_text(files.read_text().replace(old, new, 1))
    with pytest.raises(UsageError, match=told):
        ablate_file(files, files.parent / "out", long=True)
    assert not (files.parent / "out").exists()


def test_each_step_is_a_row_with_its_gain_and_the_spread_of_the_seeds(finished):
    """finegrained row 21."""
    home, told = finished
    written = json.loads((home / "out" / "results.json").read_text())
    assert [row["name"] for row in written["rows"]] == [
        "baseline",
        "+ flip",
        "larger",
        "+ re-ranking",
    ]
    for number, row in enumerate(written["rows"]):
        assert set(row["metrics"]) == {
            f"{name}{what}"
            for name in ("recall(1)", "map")
            for what in ("", " spread", *([" gain"] if number else []))
        }
        low, high = row["interval"]["map"]
        assert low <= row["metrics"]["map"] <= high and row["seconds"] >= 0 and row["name"] in told
    assert written["rows"][3]["metrics"]["map gain"] == pytest.approx(
        written["rows"][3]["metrics"]["map"] - written["rows"][1]["metrics"]["map"]
    )
    assert (home / "out" / "report.html").read_text().startswith("<!doctype html>")


def test_steps_that_differ_after_the_training_share_one(finished):
    steps = json.loads((finished[0] / "out" / "ablation.json").read_text())["steps"]
    trained = [[seed["training"] for seed in step["seeds"]] for step in steps]
    assert trained[1] == trained[2] == trained[3] != trained[0]
    assert (
        len({name for of_step in trained for name in of_step})
        == 4
        == len(list((finished[0] / "out" / "trainings").iterdir()))
    )
    assert [step["compared with"] for step in steps] == [None, "baseline", "+ flip", "+ flip"]


def test_what_is_finished_is_not_done_again_and_what_changes_is(finished, monkeypatch):
    home, told = finished
    trained = []
    monkeypatch.setattr(
        ablation_work.Trainer, "train", lambda self: trained.append(self.cfg.OUTPUT_DIR)
    )
    assert ablate_file(home / "ablation.yml", home / "out", long=True) == told
    assert trained == []
    (home / "ablation.yml").write_text(ABLATION.replace("k1=6", "k1=5"))
    ablate_file(home / "ablation.yml", home / "out", long=True)
    assert len(trained) == 2, "re-ranking anew looks up the model, whose training is at its end"
    (home / "ablation.yml").write_text(ABLATION)


def test_a_step_may_be_trained_by_a_plan(files):
    (files.parent / "plan.yml").write_text(
        "RECIPE: tiny.yml\nSTEPS:\n  - NAME: one\n  - NAME: two\n"
        '    SET: {SEEK.SAMPLER: "capped(cap=3)"}\n'
    )
    head = files.read_text().split('  - NAME: "+ flip')[0]
    files.write_text(head + "  - NAME: two stages\n    PLAN: plan.yml\n")
    ablate_file(files, files.parent / "out")
    step = json.loads((files.parent / "out" / "ablation.json").read_text())["steps"][1]
    trained = files.parent / "out" / "trainings" / step["seeds"][0]["training"]
    assert {"one", "two", "plan.json"} <= {path.name for path in trained.iterdir()}


def test_a_step_trained_in_rounds_has_the_model_of_the_last_round(files, photos):
    data = f"folder({str(photos)!r})"
    (files.parent / "rounds.yml").write_text(f"""
RECIPE: tiny.yml
DATA: {{LABELLED: "{data}", UNLABELLED: "{data}", SPLIT: query, TEST_DATA: true}}
CLASS_METRICS: ["top(1)"]
ROUNDS: 2
STOP: {{GAIN: -1}}
STEPS:
  - {{NAME: start, DO: train, FROM: none, ONCE: true}}
  - {{NAME: classify, DO: classify}}
  - {{NAME: pseudo, DO: pseudo, THRESHOLD: [0.0, 0.0], PROTOTYPE: 0}}
  - {{NAME: scratch, DO: train, PHOTOS: [labelled, pseudo], FROM: none}}
""")
    head = files.read_text().split('  - NAME: "+ flip')[0]
    files.write_text(head + "  - NAME: in rounds\n    PLAN: rounds.yml\n")
    told = ablate_file(files, files.parent / "out")
    step = json.loads((files.parent / "out" / "ablation.json").read_text())["steps"][1]
    trained = files.parent / "out" / "trainings" / step["seeds"][0]["training"]
    book = json.loads((trained / "rounds.json").read_text())
    assert [one["training"] for one in book["rounds"]] == [
        "round1/start",
        "round1/scratch",
        "round2/scratch",
    ]
    manifests = [
        json.loads(file.read_text()) for file in trained.glob("embeddings/*/*/manifest.json")
    ]
    model = load_model(
        recipe.load(trained / "round2/scratch/config.yaml"),
        trained / "round2/scratch/model_final.safetensors",
    )
    assert "in rounds" in told and {one["passport"]["model"] for one in manifests} == {
        embedding.weights_hash(model)
    }


def forked_context(method, make=multiprocessing.get_context):
    assert method == "spawn"
    return make("fork")


def test_trainings_side_by_side_find_what_others_do_and_an_error_of_one_comes_out_in_words(
    finished, tmp_path, monkeypatch
):
    # spawned ones import torch and are tested with `launch`
    monkeypatch.setattr(jobs.multiprocessing, "get_context", forked_context)
    home, _ = finished
    (tmp_path / "tiny.yml").write_text((home / "tiny.yml").read_text())
    two = ABLATION.split('  - NAME: "+ flip')[0]
    breaks = "  - NAME: breaks\n    SET: {SOLVER.BASE_LR: 1.0e+30, SOLVER.OPT: SGD}\n"
    (tmp_path / "ablation.yml").write_text(two + breaks)
    with pytest.raises(RunError, match="not finite"):
        ablate_file(tmp_path / "ablation.yml", tmp_path / "out", jobs=2)
    (tmp_path / "ablation.yml").write_text(two)
    ablate_file(tmp_path / "ablation.yml", tmp_path / "out")
    made, alone = [
        json.loads((folder / "out" / "ablation.json").read_text())["steps"][0]["seeds"][0][
            "metrics"
        ]
        for folder in (tmp_path, home)
    ]
    assert made == pytest.approx(alone, abs=0.05)


def test_the_tool_prints_the_table_and_ends_with_2_on_wrong_use(finished, monkeypatch, capsys):
    home, told = finished
    tool = str(ROOT / "tools" / "ablate.py")
    for more, code in ((["--long"], 0), (["--long", "SEED"], 2), (["--jobs", "0"], 2)):
        monkeypatch.setattr(
            sys, "argv", [tool, str(home / "ablation.yml"), "--out", str(home / "out"), *more]
        )
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(tool, run_name="__main__")
        assert ended.value.code == code
        assert (told in capsys.readouterr().out) == (code == 0)


def score(*per_query):
    values = np.array(per_query, np.float64)
    return Score("map", float(np.nanmean(values)), values)


def test_a_gain_is_paired_query_by_query():
    found = gain(score(0.1, 0.5, np.nan, 0.9), score(0.2, 0.6, np.nan, 1.0))
    assert found.value == pytest.approx(0.1) and found.span == pytest.approx((0.1, 0.1))
    assert (found.wins, found.losses) == (
        3,
        0,
    ), "the intervals of the two overlap, the pairs leave no doubt"


def test_a_figure_that_is_no_mean_has_a_gain_without_interval():
    found = gain(Score("gap", 0.25), Score("gap", 0.5))
    assert found.value == 0.25 and found.span is None


def test_the_mean_over_seeds_is_taken_query_by_query_and_the_spread_over_seeds():
    seeds = ((score(0.0, 1.0),), (score(1.0, 1.0),))
    steps = [StepScores("a", None, seeds, 3.0), StepScores("b", 0, seeds, 4.0)]
    assert steps[0].mean[0].per_query == pytest.approx([0.5, 1.0])
    assert steps[0].spread(0) == pytest.approx(np.std([0.5, 1.0], ddof=1))
    made = rows(steps)
    assert made[0]["metrics"] == pytest.approx(
        {"map": 0.75, "map spread": np.std([0.5, 1.0], ddof=1)}
    )
    assert made[1]["metrics"]["map gain"] == 0 and made[1]["interval"]["map gain"] == [0, 0]
    assert "75.0 +- 35.4" in text(steps) and "+0.0" in text(steps)


CLASSES = """
NAME: A classifier
BASE: tiny.yml
CLASS_METRICS: ["top(1)", "class_mean"]
STEPS:
  - NAME: baseline
  - NAME: "+ dropout"
    SET: {SEEK.BRANCHES: ["bnneck(on='s4', dim=16, dropout=0.2)"], SEEK.LOSSES: ["cross_entropy(on='bnneck')"]}
  - NAME: "+ views"
    SET: {SEEK.VIEWS: ["hflip()"]}
  - NAME: "+ ensemble"
    ENSEMBLE: {"+ views": 2.0, baseline: 1.0}
"""


@pytest.fixture
def classifier(files):
    files.write_text(CLASSES)
    return files


def test_a_classifier_is_compared_photo_by_photo_without_any_search(classifier):
    """finegrained row 67, row 68: views share the training, the ensemble's members answer under one
    new classifier.
    """
    out = classifier.parent / "out"
    told = ablate_file(classifier, out)
    rows_ = json.loads((out / "results.json").read_text())["rows"]
    assert [row["name"] for row in rows_] == ["baseline", "+ dropout", "+ views", "+ ensemble"]
    assert all({"top(1)", "class_mean"} <= set(row["metrics"]) for row in rows_)
    low, high = rows_[3]["interval"]["top(1) gain"]
    assert low <= rows_[3]["metrics"]["top(1) gain"] <= high and "+ ensemble" in told
    steps = json.loads((out / "ablation.json").read_text())["steps"]
    trained = [step["seeds"][0]["training"] for step in steps]
    assert trained[1] == trained[2] != trained[0] and trained[3] == ""
    assert steps[3]["ensemble"] == {"+ views": 2.0, "baseline": 1.0} and not list(
        out.rglob("ranking.npz")
    )
    page = (out / "report.html").read_text()
    assert page.startswith("<!doctype html>") and "+ ensemble" in page and "<script" not in page
    assert ablate_file(classifier, out) == told


def test_the_ensemble_is_the_refitted_head_over_its_members(classifier):
    """finegrained row 68."""
    from fastseek.classification.refit import Refit
    from fastseek.workflows.ablation.ensemble import ClassProbabilities, SplitEmbeddings

    out = classifier.parent / "out"
    ablate_file(classifier, out)
    folders = {
        step["name"]: out / "answers" / step["seeds"][0]["answer"]
        for step in json.loads((out / "ablation.json").read_text())["steps"]
    }
    views, first = (
        SplitEmbeddings.load(folders[name] / "embedded.npz") for name in ("+ views", "baseline")
    )
    assert len(views.train) == 36 and len(views.test) == 6
    head = Refit([2.0, 1.0]).fit([views.train, first.train], views.targets)
    found = ClassProbabilities.load(folders["+ ensemble"] / "classified.npz").probabilities
    assert np.allclose(found, head([views.test, first.test], 6), atol=1e-6)
    assert not (folders["+ dropout"] / "embedded.npz").exists()


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("baseline: 1.0", "absent: 1.0", "ENSEMBLE must be .*wrong: absent: 1.0"),
        ("baseline: 1.0", "baseline: 0", "wrong: baseline: 0"),
        (", baseline: 1.0", "", "two or more earlier steps"),
        (
            'CLASS_METRICS: ["top(1)"',
            'METRICS: ["map"]\nCLASS_METRICS: ["top(1)"',
            "compared by CLASS_METRICS alone",
        ),
        ("class_mean", "class_median", "no class metric is called"),
    ],
)
def test_what_is_wrong_with_an_ensemble_is_told(classifier, old, new, told):
    assert old in classifier.read_text()
    classifier.write_text(classifier.read_text().replace(old, new, 1))
    with pytest.raises(UsageError, match=told):
        read_ablation(classifier)
