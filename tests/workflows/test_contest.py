"""The contest runner on the toy gallery: two small members, three contests, killed and resumed."""

import csv
import json
import os
import shutil

import numpy as np
import pytest
from PIL import Image

import processes
import toy
from fastseek.errors import ArtefactError, UsageError
from fastseek.inference.multi_object import Parts
from fastseek.structures import Embeddings, Ranking, embedding_job
from fastseek.structures.job_part import JobPart
from fastseek.workflows.contest import ensemble as contest_answers
from fastseek.workflows.contest import members
from fastseek.workflows.contest import run as contest
from fastseek.workflows.contest import subjects as contest_subjects
from fastseek.workflows.contest.spec import read_contest
from fastseek.workflows.plan import run as plan

RECIPE = """
PLUGINS: ["fastseek"]
MODEL: {{META_ARCHITECTURE: Seeker, DEVICE: cpu, BACKBONE: {{NAME: build_timm_backbone}}}}
DATASETS: {{NAMES: ["folder('{photos}')"]}}
DATALOADER: {{NUM_WORKERS: 0}}
SOLVER: {{OPT: Adam, BASE_LR: 0.002, MAX_EPOCH: 1, WARMUP_ITERS: 1, IMS_PER_BATCH: 12}}
INPUT: {{SIZE_TRAIN: [32, 32], SIZE_TEST: [32, 32]}}
SEEK:
  BACKBONE: "timm(name='test_efficientnet', stages=(3, 4))"
  BRANCHES: ["{branch}"]
  LOSSES: ["subcenter_arcface(on='{on}', k=2, s=20, margin='dynamic(0.05, 0.30)')"]
  SAMPLER: "shuffle()"
  TRAIN: ["resize(32)", "hflip(0.5)"]
  TEST: ["resize(32)"]
  METRICS: ["map(100)"]
"""
MEMBERS = [
    {"NAME": "one", "FAMILY": "dolg", "RECIPE": "one.yml"},
    {"NAME": "two", "FAMILY": "plain", "RECIPE": "two.yml"},
]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A toy gallery with two queries that show nothing, pictures without a landmark, and two
    training recipes.
    """
    folder = tmp_path_factory.mktemp("contest")
    photos = toy.gallery(folder / "photos", classes=5, train=6, query=2, size=32)
    random = np.random.default_rng(0)
    listed = []
    for number in range(14):
        image = Image.fromarray(random.integers(0, 256, (32, 32, 3)).astype(np.uint8))
        (folder / "nothing").mkdir(exist_ok=True)
        image.save(folder / "nothing" / f"n{number:02d}.png")
        listed.append(f"nothing/n{number:02d}.png,,{'query' if number < 2 else 'gallery'}")
    for split in ("train", "query"):
        for path in sorted((photos / split).rglob("*.jpg")):
            listed.append(f"{path.relative_to(folder)},{path.parent.name},{split}")
    (folder / "recognition.csv").write_text("\n".join(["path,label,split", *listed]) + "\n")
    branches = {
        "one": ("dolg", "dolg(dilations=(1, 2), atrous=8, hidden=16, dim=16)"),
        "two": ("gem", "gem(dim=16)"),
    }
    for name, (on, branch) in branches.items():
        (folder / f"{name}.yml").write_text(RECIPE.format(photos=photos, on=on, branch=branch))
    return folder


def write(home, name, **values):
    """A contest recipe beside the training recipes; JSON is YAML."""
    path = home / f"{name}.yml"
    path.write_text(json.dumps(values, indent=1))
    return path


def retrieval(home, name="retrieval", **more):
    return write(
        home,
        name,
        **{
            "TASK": "gldv2-retrieval",
            "DATA": f"folder('{home / 'photos'}')",
            "MEMBERS": MEMBERS,
            "SEARCH": "exact(k=30)",
            "POST": ["label_rank(up=1.0, down=0.1)"],
            "ENSEMBLE": "sum_top(20, 10)",
            "METRICS": ["recall(1)"],
            **more,
        },
    )


def recognition(home, name="recognition", **more):
    return write(
        home,
        name,
        **{
            "TASK": "gldv2-recognition",
            "DATA": f"manifest('{home / 'recognition.csv'}')",
            "MEMBERS": MEMBERS,
            "POST": ["recognise(n_quantiles=12, gallery_k=3, query_k=4)"],
            "ENSEMBLE": "concatenated",
            **more,
        },
    )


def rows_of(out):
    return json.loads((out / "results.json").read_text())["rows"]


def state(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.suffix in (".npy", ".safetensors", ".csv") and path.is_file()
    }


def ready(out):
    """The members with the weights a run has trained."""
    return [
        {
            **one,
            "WEIGHTS": str(
                out / "members" / one["NAME"] / "training" / "train" / "model_final.safetensors"
            ),
        }
        for one in MEMBERS
    ]


@pytest.fixture(scope="module")
def run(home, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    told = contest.run_files([retrieval(home), recognition(home)], out)
    return out, told


def test_both_landmark_pipelines_run_from_photos_to_scored_submissions(run):
    """landmark row 60."""
    out, told = run
    names = [
        f"{task}: {who}{post}"
        for task in ("retrieval", "recognition")
        for who in ("one", "two", "ensemble")
        for post in ("", " + post-processing")
    ]
    rows = rows_of(out)
    assert [row["name"] for row in rows] == names and all(name in told for name in names)
    for row in rows:
        figure = "map(100)" if row["name"].startswith("retrieval") else "gap"
        low, high = row["interval"][figure]
        assert 0 <= low <= row["metrics"][figure] <= high <= 1 and row["seconds"] > 0
    assert "recall(1)" in rows[0]["metrics"] and "top1" in rows[-1]["metrics"]
    for page in ("report.html", "report-recognition.html"):
        assert (out / page).read_text().startswith("<!doctype html>")


def test_every_test_image_has_its_row_and_the_last_submission_is_the_ensembles(run):
    """landmark row 49."""
    out, _ = run
    for task, count, words in (("retrieval", 10, 10), ("recognition", 12, 2)):
        last = (out / task / "submission.csv").read_text()
        assert last == (out / task / "submissions" / "ensemble_+_post-processing.csv").read_text()
        rows = list(csv.reader(last.splitlines()))[1:]
        assert len(rows) == count and all(len(answer.split()) == words for _, answer in rows)


def test_the_submission_scores_the_same_through_the_scoring_tool(run):
    """landmark row 57."""
    from fastseek.cli._score_contests import gldv2_file

    out, _ = run
    for task, figure in (("retrieval", "map(100)"), ("recognition", "gap")):
        found = json.loads(
            gldv2_file(task, out / task / "submission.csv", out / task / "solution.csv", "-")
        )
        last = next(row for row in reversed(rows_of(out)) if row["name"].startswith(task))
        assert found[figure] == pytest.approx(last["metrics"][figure])


def test_members_are_trained_and_embedded_once_for_both_tasks(run):
    out, _ = run
    for name in ("one", "two"):
        folder = out / "members" / name
        assert [path.name for path in (folder / "training").iterdir() if path.is_dir()] == ["train"]
        assert len(list((folder / "embeddings").iterdir())) == 6  # three sides of either task


def test_the_same_command_again_trains_and_embeds_nothing(run, home, monkeypatch):
    out, _ = run
    before, figures = state(out), [row["metrics"] for row in rows_of(out)]
    page = (out / "report.html").read_text()
    monkeypatch.setattr(plan, "_train", lambda *given: pytest.fail("it was trained again"))
    monkeypatch.setattr(contest, "embed_member", lambda *given: pytest.fail("it was answered"))
    contest.run_files([retrieval(home), recognition(home)], out)
    assert state(out) == before and [row["metrics"] for row in rows_of(out)] == figures
    assert (out / "report.html").read_text() == page


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"POST": ["label_rank(up=2.0, down=0.1)"]}, "contest.post"),
        ({"METRICS": ["recall(1, 5)"]}, "contest.metrics"),
        ({}, "submissions/one.csv is not as it was written"),
    ],
)
def test_what_has_changed_is_answered_anew_with_the_same_models_and_said(
    home, run, monkeypatch, change, why
):
    out, _ = run
    if not change:
        file = out / "retrieval" / "submissions" / "one.csv"
        file.write_text(file.read_text() + "\n")
    monkeypatch.setattr(plan, "_train", lambda *given: pytest.fail("it was trained again"))
    answered = []
    real = contest.predict
    monkeypatch.setattr(
        contest, "predict", lambda *given: answered.append(given[0].stem) or real(*given)
    )
    told = []
    monkeypatch.setattr(contest.logger, "warning", lambda text, *given: told.append(text % given))
    contest.run_files([retrieval(home, **change), recognition(home)], out)
    assert answered == ["retrieval"] and told[0].startswith(f"retrieval is answered anew: {why}")
    contest.run_files([retrieval(home), recognition(home)], out)  # as the other tests know it


def test_a_run_killed_between_its_members_goes_on_with_the_second(run, home, tmp_path, monkeypatch):
    """landmark row 60: killed and started again, the submissions are those of a run that was not
    killed.
    """
    whole, _ = run
    embed = members.load_model

    def killed(cfg, weights):
        if "two" in str(weights):
            os._exit(9)
        return embed(cfg, weights)

    child = os.fork()
    if not child:
        members.load_model = killed
        try:
            contest.run_files([retrieval(home), recognition(home)], tmp_path)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    done = state(tmp_path / "members" / "one")
    assert not (tmp_path / "results.json").exists() and any(
        name.endswith(".vectors.npy") for name in done
    )
    monkeypatch.setattr(
        plan, "_train", lambda *given: pytest.fail("both were trained before the kill")
    )
    contest.run_files([retrieval(home), recognition(home)], tmp_path)
    after = state(tmp_path / "members" / "one")
    assert all(after[name] == content for name, content in done.items())
    for task in ("retrieval", "recognition"):
        assert (tmp_path / task / "submission.csv").read_text() == (
            whole / task / "submission.csv"
        ).read_text()


def test_a_changed_setting_trains_anew_and_only_what_it_touches(home, run, tmp_path, monkeypatch):
    trained, train = [], plan._train
    monkeypatch.setattr(
        plan,
        "_train",
        lambda step, cfg, resume: (
            trained.append(cfg.OUTPUT_DIR.split("/")[-3]),
            train(step, cfg, resume),
        )[1],
    )
    contest.run_files([retrieval(home, "first")], tmp_path)
    changed = [MEMBERS[0], {**MEMBERS[1], "SET": {"SOLVER.BASE_LR": 0.003}}]
    contest.run_files([retrieval(home, "second", MEMBERS=changed)], tmp_path)
    assert trained == ["one", "two", "two"]
    assert (
        len(list((tmp_path / "members" / "one" / "embeddings").iterdir())) == 3
    )  # the same photos, embedded once


def test_weights_that_are_named_are_not_trained_and_answer_the_same(home, run, tmp_path):
    out, _ = run
    contest.run_files([retrieval(home, "alone", MEMBERS=ready(out)[:1])], tmp_path)
    found, before = rows_of(tmp_path), rows_of(out)
    assert [row["name"] for row in found] == ["one", "one + post-processing"]
    assert [row["metrics"] for row in found] == [row["metrics"] for row in before[:2]]
    assert not list((tmp_path / "members").rglob("model_final*"))


def test_the_contests_own_solution_knows_bare_names_and_ignores_queries(home, run, tmp_path):
    """landmark row 56: queries that are ignored are not searched for, and have an empty row."""
    own = (run[0] / "retrieval" / "solution.csv").read_text().splitlines()
    rows = [line.split(",") for line in own[1:]]
    unique = {name: f"{number:04d}" for number, name in enumerate(sorted({row[0] for row in rows}))}
    photos = tmp_path / "photos"
    listed = ["path,label,split,id"]
    for split in ("train", "query", "gallery"):
        for number, path in enumerate(sorted((home / "photos" / split).rglob("*.jpg"))):
            name = str(path.relative_to(home / "photos"))
            listed.append(
                f"{path},{path.parent.name},{split},{split}/{unique.get(name, f'{split}{number}')}.jpg"
            )
    photos.mkdir()
    (photos / "list.csv").write_text("\n".join(listed) + "\n")
    numbers = {
        name: f"gallery{number}"
        for number, name in enumerate(
            sorted(
                str(path.relative_to(home / "photos"))
                for path in (home / "photos" / "gallery").rglob("*.jpg")
            )
        )
    }
    text = [own[0]] + [
        (
            f"{unique[name]},None,Ignored"
            if place < 4
            else f"{unique[name]},{' '.join(numbers[one] for one in right.split())},Public"
        )
        for place, (name, right, _) in enumerate(rows)
    ]
    (tmp_path / "solution.csv").write_text("\n".join(text) + "\n")
    path = retrieval(
        home,
        "official",
        MEMBERS=ready(run[0])[:1],
        DATA=f"manifest('{photos / 'list.csv'}')",
        SOLUTION=str(tmp_path / "solution.csv"),
    )
    contest.run_files([path], tmp_path / "out")
    answers = list(
        csv.reader((tmp_path / "out" / "official" / "submission.csv").read_text().splitlines())
    )[1:]
    assert sorted(name for name, _ in answers) == sorted(unique.values())
    assert [not found for _, found in answers].count(True) == 4
    assert rows_of(tmp_path / "out")[0]["metrics"]["map(100)"] > 0.2


def test_digix_runs_through_the_same_runner(home, run, tmp_path):
    out, _ = run
    members = ready(out)
    for ensemble in ("vote(depth=10)", "concatenated"):
        path = write(
            home,
            "digix",
            TASK="digix",
            DATA=f"folder('{home / 'photos'}')",
            MEMBERS=members,
            SEARCH="exact(k=20)",
            POST=["aqe(k=2)", "k_reciprocal(k1=4, k2=2)"],
            ENSEMBLE=ensemble,
        )
        contest.run_files([path], tmp_path / ensemble[:4])
        rows = rows_of(tmp_path / ensemble[:4])
        assert len(rows) == 6 and {"top1", "map(10)"} < set(rows[0]["metrics"])
        last = (tmp_path / ensemble[:4] / "digix" / "submission.csv").read_text().splitlines()
        assert len(last) == 10 and all(line.count(",") == 10 for line in last)


def test_a_joined_ensemble_opens_its_own_reference(home, run, tmp_path):
    out, _ = run
    members = ready(out)
    contest.run_files(
        [retrieval(home, "joint", ENSEMBLE="concatenated", MEMBERS=members)], tmp_path
    )
    assert [row["name"] for row in rows_of(tmp_path)][-2:] == [
        "ensemble",
        "ensemble + post-processing",
    ]


def test_families_of_several_have_rows_of_their_own(home, run, tmp_path):
    out, _ = run
    first, second = ready(out)
    members = [first, {**first, "NAME": "again"}, second]
    contest.run_files([recognition(home, "families", MEMBERS=members)], tmp_path)
    rows = {row["name"]: row["metrics"] for row in rows_of(tmp_path)}
    assert [name for name in rows if "family" in name] == [
        "family dolg",
        "family dolg + post-processing",
    ]
    assert rows["family dolg"] == pytest.approx(
        rows["one"]
    )  # the mean of two equal models is that model


def test_a_rule_of_other_winners_can_follow_in_recognition(home, run, tmp_path):
    """landmark row 50."""
    post = [
        "recognise(n_quantiles=12, gallery_k=3, query_k=4)",
        "ban_frequent(most=1, rule='count')",
    ]
    contest.run_files([recognition(home, "banned", MEMBERS=ready(run[0])[:1], POST=post)], tmp_path)
    plain, banned = (
        tmp_path / "banned" / "submissions" / f"one{end}.csv" for end in ("", "_+_post-processing")
    )
    before = [row for row in csv.reader(banned.read_text().splitlines())][1:]
    labels = [answer.split()[0] for _, answer in before]
    for (_, answer), label in zip(before, labels, strict=True):
        assert labels.count(label) == 1 or float(answer.split()[1]) == -labels.count(label)
    assert plain.read_text() != banned.read_text()


def test_the_contest_fills_in_what_re_rankers_open():
    folders = {"REFERENCE": "r", "LABELS": "l.csv", "NON_LANDMARKS": "n"}
    fill = contest_answers.fill_arguments
    assert (
        fill("label_rank(up=2.0)", folders) == "label_rank(reference='r', labels='l.csv', up=2.0)"
    )
    assert fill("non_landmark()", folders) == "non_landmark(reference='n')"
    assert fill("non_landmark(reference='mine')", folders) == "non_landmark(reference='mine')"
    assert fill("k_reciprocal(k1=4)", folders) == "k_reciprocal(k1=4)"


@pytest.mark.parametrize(
    "change, told",
    [
        ({"TASK": "kaggle"}, ":2: TASK must be one of digix, gldv2-recognition, gldv2-retrieval"),
        ({"ENSEMBLE": "sum_tip(3)"}, "no fuser is called 'sum_tip'; did you mean 'sum_top'"),
        ({"ENSEMBLE": "sum_top(top=3)"}, "ENSEMBLE|sum_top"),
        ({"POST": ["label_rang()"]}, "no part is called 'label_rang'"),
        ({"MEMBERS": [*MEMBERS, MEMBERS[0]]}, "two members are called 'one'"),
        ({"MEMBERS": [{"NAME": "one"}]}, "PLAN or RECIPE"),
        ({"MEMBERS": [{"NAME": "a/b", "RECIPE": "one.yml"}]}, ":6: NAME 'a/b' .*folder"),
        ({"MEMBERS": [{**MEMBERS[0], "WEIGTH": 2}]}, ":9: there is no key MEMBERS.0..WEIGTH;"),
        ({"MEMBERS": [{**MEMBERS[0], "WEIGTH": 2}]}, "did you mean WEIGHT"),
        ({"MEMBERS": [{**MEMBERS[0], "WEIGHT": 0}]}, "MEMBERS.0..WEIGHT must be a number > 0"),
        ({"MEMBERS": "one.yml"}, ":4: MEMBERS must be a list"),
        ({"MEMBERS": []}, "MEMBERS is empty"),
        ({"METRICS": [1]}, "METRICS.0. must be a call string, got 1"),
        ({"METRICS": ["mapp"]}, "no metric is called 'mapp'"),
        ({"DATA": ""}, "names a data set"),
        ({"TSAK": "digix"}, "no key TSAK; .*did you mean TASK"),
    ],
)
def test_a_wrong_contest_recipe_is_told_with_its_file_before_anything_is_trained(
    home, change, told
):
    path = retrieval(home, "wrong", **change)
    with pytest.raises(UsageError, match=told) as error:
        read_contest(path)
    assert str(error.value).startswith(f"{path}")


def test_a_contest_without_a_task_says_what_it_needs(home):
    path = write(home, "wrong", DATA="x", MEMBERS=MEMBERS)
    with pytest.raises(
        UsageError, match="wrong.yml: TASK and ENSEMBLE are missing: a contest needs"
    ):
        read_contest(path)


def test_a_wrong_key_of_the_last_member_is_told_before_the_first_is_trained(home, tmp_path):
    wrong = [MEMBERS[0], {**MEMBERS[1], "SET": {"SOLVER.BASE_LRR": 1}}]
    path = retrieval(home, "late", MEMBERS=wrong)
    with pytest.raises(UsageError, match="late.yml:[0-9]+: member 'two': .*SOLVER.BASE_LRR"):
        contest.run_files([path], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "change",
    [
        {"SUBMISSION": "../../x.csv"},
        {"SUBMISSION": "/tmp/x.csv"},
        {"SUBMISSION": "a/x.csv"},
        {"SUBMISSION": "solution.csv"},
        {"MEMBERS": [{**MEMBERS[0], "FAMILY": "../../x"}, MEMBERS[1]]},
        {"MEMBERS": [{**MEMBERS[0], "NAME": ".."}]},
        {"MEMBERS": [MEMBERS[0], {**MEMBERS[1], "NAME": "ensemble"}]},
        {"MEMBERS": [{**MEMBERS[0], "NAME": "a b"}, {**MEMBERS[1], "NAME": "a_b"}]},
    ],
)
def test_F66_no_name_of_a_contest_leaves_its_folder_or_writes_over_another_file(home, change):
    with pytest.raises(UsageError, match="outside.yml:[0-9]+: "):
        read_contest(retrieval(home, "outside", **change))


def test_a_recognition_recipe_takes_no_fuser_and_no_re_ranker(home):
    for change, told in (
        ({"ENSEMBLE": "sum_top(3)"}, "concatenated, candidates"),
        ({"POST": ["aqe()"]}, "recognise("),
    ):
        with pytest.raises(UsageError) as error:
            read_contest(recognition(home, "wrong", **change))
        assert told in str(error.value)


def test_short_without_its_changes_and_one_name_for_two_members_are_refused(home, tmp_path):
    with pytest.raises(UsageError, match="no SHORT"):
        contest.run_files([retrieval(home)], tmp_path, short=True)
    other = recognition(home, "other", MEMBERS=[{**MEMBERS[0], "RECIPE": "two.yml"}])
    with pytest.raises(UsageError, match="'one'"):
        contest.run_files([retrieval(home), other], tmp_path)


def test_weights_of_another_recipe_are_refused(home, run, tmp_path):
    out, _ = run
    weights = ready(out)[1]["WEIGHTS"]
    with pytest.raises(ArtefactError):
        contest.run_files(
            [retrieval(home, "mixed", MEMBERS=[{**MEMBERS[0], "WEIGHTS": weights}])], tmp_path
        )


def test_the_tool_ends_with_2_for_a_wrong_recipe(home, tmp_path):
    done = processes.run("contest.py", "--recipe", home / "one.yml", "--out", tmp_path)
    assert done.returncode == 2 and "one.yml" in done.stderr and "Traceback" not in done.stderr


def break_file(path):
    path.write_bytes(path.read_bytes()[:40])


@pytest.fixture
def broken(home, run, tmp_path):
    """The gallery with three damaged images and one damaged query, and models that are trained."""
    folder = tmp_path / "broken"
    shutil.copytree(home / "photos", folder)
    lost = (
        sorted((folder / "gallery").rglob("*.jpg"))[:3]
        + sorted((folder / "query").rglob("*.jpg"))[:1]
    )
    for path in lost:
        break_file(path)
    return folder, [path.relative_to(folder).as_posix() for path in lost], ready(run[0])


@pytest.mark.parametrize(
    "change",
    [
        {"ENSEMBLE": "sum_top(100, 100)"},
        {"TASK": "digix", "ENSEMBLE": "vote(depth=10)", "METRICS": ["recall(1)"]},
        {"ENSEMBLE": "concatenated"},
    ],
)
def test_F44_unreadable_images_of_a_contest_are_named_and_count_in_every_figure(
    home, broken, tmp_path, change
):
    folder, lost, members = broken
    whole = {"METRICS": ["recall(1)", "map"], "SEARCH": "exact(k=100)", "MEMBERS": members}
    path = retrieval(home, "lossy", DATA=f"folder('{folder}')", **{**whole, **change})
    told = contest.run_files([path], tmp_path / "out")
    assert "1 of 10 queries, 3 of 30 gallery images cannot be read and count as not found" in told
    rows = list(csv.DictReader((tmp_path / "out" / "lossy" / "rejects.csv").open()))
    assert sorted(row["id"] for row in rows) == sorted(lost)
    assert {row["side"] for row in rows} == {"QUERIES", "GALLERY"} and all(
        row["code"] for row in rows
    )
    found = Ranking.load(tmp_path / "out" / "lossy" / "ranking.npz")
    assert len(found.query_ids) == 10 and len(found.gallery_ids) == 30
    assert (found.indices[found.query_ids == lost[3]] == -1).all()
    # the slow twin: by hand, over all queries and all images
    labels = [name.split("/")[-2] for name in found.gallery_ids.tolist()]
    precisions, firsts = [], []
    for name, row in zip(found.query_ids.tolist(), found.indices.tolist(), strict=True):
        right = [labels[one] == name.split("/")[-2] for one in row if one >= 0]
        hits = [place for place, one in enumerate(right, 1) if one]
        wanted = labels.count(name.split("/")[-2])
        precisions.append(sum(n / place for n, place in enumerate(hits, 1)) / wanted)
        firsts.append(bool(right[:1] and right[0]))
    last = rows_of(tmp_path / "out")[-1]["metrics"]
    assert last["recall(1)"] == pytest.approx(np.mean(firsts))
    if "METRICS" not in change:
        assert last["map"] == last["map(100)"] == pytest.approx(np.mean(precisions)), (
            "one denominator a row"
        )
    again = contest.run_files([path], tmp_path / "out")
    assert again == told, "a finished contest says it again"


def test_F44_unreadable_queries_of_a_recognition_have_an_empty_row(home, run, tmp_path):
    for name in ("photos", "nothing"):
        shutil.copytree(home / name, tmp_path / name)
    shutil.copy(home / "recognition.csv", tmp_path)
    query = sorted((tmp_path / "photos" / "query").rglob("*.jpg"))[0]
    break_file(query)
    data = f"manifest('{tmp_path / 'recognition.csv'}')"
    path = recognition(home, "lossy", DATA=data, MEMBERS=ready(run[0]))
    told = contest.run_files([path], tmp_path / "out")
    assert "1 of 12 queries cannot be read and count as not found" in told
    rows = dict(csv.reader((tmp_path / "out" / "lossy" / "submission.csv").open()))
    assert [name for name, answer in rows.items() if not answer] == [
        query.relative_to(tmp_path).as_posix()
    ]


def test_F56_queries_the_members_disagree_on_are_searched_with_each_of_their_subjects(
    home, run, tmp_path, monkeypatch
):
    """finegrained row 46: multi-subject search, inside a contest."""
    gallery, asked = [], []

    def embed(trained, items, out, part):
        made = embed_member(trained, items, out, part)
        gallery.append(made.sides["GALLERY"])
        return made

    def parts_of(cfg, model, items, root, on):
        """As if every query showed the first image of the gallery too."""
        asked.append([item.id for item in items])
        side = gallery[len(asked) - 1]
        vectors = np.repeat(np.asarray(side.vectors[:1]), len(items), axis=0)
        names = [f"{item.id}#1" for item in items]
        owner = dict(zip(names, asked[-1], strict=True))
        return Parts(Embeddings(names, vectors), owner, {item.id: [[0, 0, 1, 1]] for item in items})

    embed_member = contest.embed_member
    monkeypatch.setattr(contest, "embed_member", embed)
    monkeypatch.setattr(contest_subjects, "parts_of", parts_of)
    whole = {"MEMBERS": ready(run[0]), "ENSEMBLE": "vote(depth=10)", "SUBJECTS": {"BELOW": 0.4}}
    contest.run_files([retrieval(home, "subjects", **whole)], tmp_path)
    ends = ("", " + post-processing", " + post-processing + subjects")
    names = [row["name"] for row in rows_of(tmp_path)]
    assert set(names) == {f"{name}{end}" for name in ("one", "two", "ensemble") for end in ends}
    assert names[-3:] == [f"ensemble{end}" for end in ends]
    assert asked[0] == asked[1] and 0 < len(asked[0]) < 10, "all members are asked the same"
    folder, first = tmp_path / "subjects" / "submissions", gallery[0].ids[0]
    for name in ("one", "two"):
        before, after = (
            dict(csv.reader((folder / f"{name}{end.replace(' ', '_')}.csv").open()))
            for end in ends[1:]
        )
        changed = {query for query in after if after[query] != before[query]}
        assert {query for query in asked[0] if after[query].split()[0] == first} == set(asked[0])
        assert changed <= set(asked[0]), "the others keep their answers"
        boxes = json.loads((tmp_path / "subjects" / "subjects" / f"{name}.boxes.json").read_text())
        assert boxes.keys() == set(asked[0])
    last = (tmp_path / "subjects" / "submission.csv").read_text()
    assert last == (folder / "ensemble_+_post-processing_+_subjects.csv").read_text()


def test_F56_where_all_members_agree_nothing_is_searched_again(home, run, tmp_path):
    whole = {"MEMBERS": ready(run[0]), "ENSEMBLE": "vote(depth=10)", "SUBJECTS": {"BELOW": 0.0}}
    contest.run_files([retrieval(home, "agreed", **whole)], tmp_path)
    rows = {row["name"]: row["metrics"] for row in rows_of(tmp_path)}
    for name in ("one", "two", "ensemble"):
        assert rows[f"{name} + post-processing + subjects"] == rows[f"{name} + post-processing"]


def test_F56_better_answers_take_the_rows_of_their_queries_and_no_others():
    ranking = Ranking(["p", "q"], ["a", "b", "c"], [[0, 1], [1, 2]], [[0.9, 0.8], [0.7, 0.6]])
    better = Ranking(["q"], ["c", "a", "b"], [[1, 0, 2]], [[0.5, 0.4, 0.3]])
    found = contest_subjects.replace_rows(ranking, better)
    assert found.indices.tolist() == [[0, 1], [0, 2]]
    assert found.scores[1].tolist() == pytest.approx([0.5, 0.4])
    assert ranking.indices.tolist() == [[0, 1], [1, 2]], "what was passed in stays"
    none = Ranking([], ["a", "b", "c"], np.empty((0, 2), np.int64), np.empty((0, 2)))
    assert contest_subjects.replace_rows(ranking, none) is ranking


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"SUBJECTS": {"BELOW": 2}}, "SUBJECTS.BELOW must be a number <= 1.0, got 2"),
        ({"SUBJECTS": {"BELOWS": 1}}, "no key SUBJECTS.BELOWS; .*did you mean BELOW"),
        ({"SUBJECTS": {}, "MEMBERS": MEMBERS[:1]}, "name two or more"),
        ({"SUBJECTS": {}, "ENSEMBLE": "concatenated"}, "fuses rankings, such as vote"),
    ],
)
def test_F56_what_cannot_be_searched_by_subjects_is_told(home, change, told):
    with pytest.raises(UsageError, match=told):
        read_contest(retrieval(home, "wrong", **change))


def test_parts_of_a_contest_answer_as_one_process_and_the_last_one_answers(
    home, run, tmp_path, monkeypatch
):
    monkeypatch.setattr(embedding_job, "STEP", 2)
    path = recognition(home, "shared", MEMBERS=ready(run[0])[:1])
    contest.run_files([path], tmp_path / "whole")
    told = contest.run_files([path], tmp_path / "parts", part=JobPart(1, 2))
    assert told.startswith("part 1/2 is done; ") and not (tmp_path / "parts/results.json").exists()
    contest.run_files([path], tmp_path / "parts", part=JobPart(0, 2))
    assert state(tmp_path / "parts") == state(tmp_path / "whole")
    rows = [[row["metrics"] for row in rows_of(tmp_path / name)] for name in ("parts", "whole")]
    assert rows[0] == rows[1]
    monkeypatch.setattr(contest, "embed_member_part", lambda *given: pytest.fail("it was done"))
    again = contest.run_files([path], tmp_path / "parts", part=JobPart(1, 2))
    assert "page: " in again


def test_parts_begin_with_different_members_and_each_is_trained_once(home, tmp_path, monkeypatch):
    begun, path = [], retrieval(home, "rotated")
    one = contest._Run(read_contest(path), tmp_path, [], False)
    monkeypatch.setattr(
        contest, "train_member", lambda spec, *given: begun.append(spec.name) or spec.name
    )
    assert one._train(JobPart(0, 2)) == one._train(JobPart(1, 2)) == ["one", "two"]
    assert begun == ["one", "two", "two", "one"]
