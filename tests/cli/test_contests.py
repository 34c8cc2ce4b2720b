"""Contest files to scores, against twins that walk down every list."""

import json
import pickle

import numpy as np
import pytest

from fastseek.cli import _score_contests as score_contests
from fastseek.errors import ArtefactError, DataError
from fastseek.formats import gldv2
from fastseek.metrics import _contest_scores
from fastseek.structures import Ranking


def figures(text):
    """The figures of a score's JSON, without what tells how each of them came about."""
    found = json.loads(text)
    assert list(found.pop("protocol")) == list(found)
    return found


def write(path, *lines):
    path.write_text("\n".join(lines) + "\n")
    return path


def test_the_worked_recognition_example_from_its_files(tmp_path):
    """landmark row 59."""
    solution = write(
        tmp_path / "s.csv",
        "id,landmarks,Usage",
        "01,0 12,Public",
        "02,100 200 300,Public",
        "03,1,Public",
        "04,,Public",
        "05,,Public",
        "06,7,Ignored",
    )
    predictions = write(
        tmp_path / "p.csv",
        "id,landmarks",
        "02,0 0.01",
        "03,1 10.0",
        "04,150 15.0",
        "05,",
        "06,7 99",
    )
    found = figures(score_contests.gldv2_file("recognition", predictions, solution, "-"))
    assert found == pytest.approx({"gap": 1 / 6, "gap(ignore_empty=True)": 1 / 3, "top1": 1 / 3})


def test_a_part_without_landmark_queries_has_no_figure_and_hinders_the_others_not(tmp_path):
    solution = write(
        tmp_path / "s.csv", "id,landmarks,Usage", "a,5,Private", "b,,Private", "c,,Public"
    )
    predictions = write(tmp_path / "p.csv", "id,landmarks", "a,5 0.9", "b,5 0.5", "c,5 0.1")
    found = figures(score_contests.gldv2_file("recognition", predictions, solution, "-"))
    assert found["gap"] == found["private gap"] == 1 and not [
        name for name in found if name.startswith("public")
    ]


def test_the_worked_retrieval_example_from_its_files(tmp_path):
    """landmark row 59."""
    solution = write(
        tmp_path / "s.csv",
        "id,images,Usage",
        "1,a b,Public",
        "2,a,Public",
        "3,c d e,Public",
        "4,c,Public",
        "5,None,Ignored",
    )
    predictions = write(tmp_path / "p.csv", "id,images", "2,z a", "3,d", "4,c d", "5,a", "6,")
    found = figures(score_contests.gldv2_file("retrieval", predictions, solution, "-"))
    assert found["map(100)"] == pytest.approx(0.458333, abs=1e-6)
    assert found["precision(1)"] == pytest.approx(0.5)
    assert found["position_mean(100)"] == 26.25
    assert found["position_median(100)"] == 1.5


def test_equal_scores_are_ranked_by_query_then_by_landmark(tmp_path):
    solution = write(
        tmp_path / "s.csv", "id,landmarks,Usage", "a,1,Public", "b,2,Public", "c,3,Public"
    )
    for order in (("a,9 1", "b,2 1", "c,3 1"), ("c,3 1", "b,2 1", "a,9 1")):
        predictions = write(tmp_path / "p.csv", "id,landmarks", *order)
        found = figures(score_contests.gldv2_file("recognition", predictions, solution, "-"))
        assert found["gap"] == pytest.approx((1 / 2 + 2 / 3) / 3)


def test_both_parts_of_a_solution_are_scored_on_their_own_and_together(tmp_path):
    random = np.random.default_rng(0)
    ids = [f"{n:02d}" for n in range(40)]
    usage = np.where(random.random(40) < 0.5, "Public", "Private")
    right = [f"{random.integers(0, 4)} {random.integers(4, 6)}" if n % 4 else "" for n in range(40)]
    said = [f"{name},{random.integers(0, 5)} {random.integers(0, 9)}" for name in ids]
    rows = [f"{name},{known},{part}" for name, known, part in zip(ids, right, usage, strict=True)]
    predictions = write(tmp_path / "p.csv", "id,landmarks", *said)
    whole = score_contests.gldv2_file(
        "recognition", predictions, write(tmp_path / "s.csv", "id,landmarks,Usage", *rows), "-"
    )
    for part in ("Public", "Private"):
        mine = [row if row.endswith(part) else row.rsplit(",", 1)[0] + ",Ignored" for row in rows]
        alone = score_contests.gldv2_file(
            "recognition", predictions, write(tmp_path / "s1.csv", "id,landmarks,Usage", *mine), "-"
        )
        for name, value in figures(alone).items():
            assert figures(whole)[f"{part.lower()} {name}"] == value
    assert len(figures(whole)) == 9


def test_every_query_of_a_retrieval_solution_counts_and_more_than_a_hundred_answers_do_not():
    solution = gldv2.Solution(np.array(["1", "2"]), np.array(["Public"] * 2), [["a"], ["b"]])
    answers = gldv2.Lists.of([("1", [*map(str, range(100)), "a"])])
    assert {
        score.name: score.value for score in _contest_scores.score_retrieval(answers, solution)
    } == {
        "map(100)": 0.0,
        "precision(1)": 0.0,
        "precision(10)": 0.0,
        "precision(100)": 0.0,
        "position_mean(100)": 101.0,
        "position_median(100)": 101.0,
    }


@pytest.mark.parametrize("task, column", [("recognition", "landmarks"), ("retrieval", "images")])
def test_a_solution_without_a_scored_query_is_refused(tmp_path, task, column):
    solution = write(tmp_path / "s.csv", f"id,{column},Usage", "a,1,Ignored")
    with pytest.raises(DataError, match="none of the 0 queries"):
        score_contests.gldv2_file(task, write(tmp_path / "p.csv", f"id,{column}"), solution)


def revisited_case(seed, queries=4, images=30, distractors=6):
    """Ground truth whose kinds are drawn image by image, and a full ranking over benchmark and
    distractors.
    """
    random = np.random.default_rng(seed)
    kinds = random.choice(
        ["easy", "hard", "junk", "none"], (queries, images), p=[0.1, 0.1, 0.1, 0.7]
    )
    kinds[0][kinds[0] == "easy"] = "none"
    gnd = {
        "imlist": [f"im_{n:02d}" for n in range(images)],
        "qimlist": [f"q_{n}" for n in range(queries)],
        "gnd": [
            {"bbx": [0, 0, 1, 1]}
            | {kind: np.flatnonzero(row == kind).tolist() for kind in ("easy", "hard", "junk")}
            for row in kinds
        ],
    }
    order = np.stack([random.permutation(images + distractors) for _ in range(queries)])
    return gnd, order


def slow_revisited(gnd, order, protocol, k):
    """mAP and mP@k with 0-based ranks, as the definition writes them."""
    aps, precisions = [], []
    for entry, ranks in zip(gnd["gnd"], order, strict=True):
        good = set(
            {"easy": entry["easy"], "hard": entry["hard"], "medium": entry["easy"] + entry["hard"]}[
                protocol
            ]
        )
        junk = set(
            entry["junk"] + {"easy": entry["hard"], "hard": entry["easy"], "medium": []}[protocol]
        )
        if not good:
            continue
        clean = [item for item in ranks if item not in junk]
        positions = [at for at, item in enumerate(clean) if item in good]
        aps.append(
            sum(
                ((1.0 if at == 0 else number / at) + (number + 1) / (at + 1)) / 2
                for number, at in enumerate(positions)
            )
            / len(good)
        )
        depth = min(max(at + 1 for at in positions), k)
        precisions.append(sum(at + 1 <= depth for at in positions) / depth)
    return np.mean(aps), np.mean(precisions)


def ranking_of(order, query_ids, gallery_ids):
    return Ranking(
        query_ids,
        gallery_ids,
        order,
        np.broadcast_to(-np.arange(order.shape[1], dtype=np.float32), order.shape),
    )


@pytest.mark.parametrize("protocol", ["easy", "medium", "hard"])
@pytest.mark.parametrize("seed", range(5))
def test_revisited_figures_are_their_definitions_whatever_the_ids(tmp_path, seed, protocol):
    """landmark row 55."""
    gnd, order = revisited_case(seed)
    (tmp_path / "gnd_toy.pkl").write_bytes(pickle.dumps(gnd))
    far = [f"far_{n}" for n in range(order.shape[1] - 30)]
    found = []
    for queries, gallery in (
        (gnd["qimlist"], [*gnd["imlist"], *far]),
        (
            [f"jpg/{name}.jpg" for name in gnd["qimlist"]],
            [f"jpg/{name}.jpg" for name in [*gnd["imlist"], *far]],
        ),
        (np.arange(4).astype(str), np.arange(36).astype(str)),
    ):
        ranking_of(order, queries, gallery).save(tmp_path / "r.npz")
        found.append(
            figures(
                score_contests.revisited_file(
                    tmp_path / "r.npz", tmp_path / "gnd_toy.pkl", protocol, "-"
                )
            )
        )
    assert found[0] == found[1] == found[2]
    for k in (1, 5, 10):
        area, precision = slow_revisited(gnd, order, protocol, k)
        assert found[0]["revisited_map"] == pytest.approx(area, abs=1e-12)
        assert found[0][f"revisited_mp({k})"] == pytest.approx(precision, abs=1e-12)


def test_revisited_figures_stand_beside_what_they_depend_on(tmp_path):
    """landmark row 58: crop, scales, distractors, whether the training set overlaps."""
    gnd, order = revisited_case(0)
    (tmp_path / "gnd_toy.pkl").write_bytes(pickle.dumps(gnd))
    far = [f"far_{n}" for n in range(order.shape[1] - 30)]
    made = ranking_of(order, gnd["qimlist"], [*gnd["imlist"], *far])
    for provenance, views in (
        ({}, "not told"),
        ({"queries": {"views": ["scale(0.5, 1.0)"]}}, "scale(0.5, 1.0)"),
        ({"queries": {"views": []}}, "one, the image as it is"),
    ):
        Ranking(made.query_ids, made.gallery_ids, made.indices, made.scores, provenance).save(
            tmp_path / "r.npz"
        )
        text = score_contests.revisited_file(
            tmp_path / "r.npz", tmp_path / "gnd_toy.pkl", "hard", None, "yes", "no"
        )
        assert (
            text.splitlines()[-1]
            == "gnd_toy, hard; query images cropped: yes; classes of the benchmark removed from"
            f" training: no; {len(far)} distractors; views: {views}"
        )


def test_revisited_figures_of_cut_lists_say_so_and_precision_is_that_of_whole_ones(tmp_path):
    gnd, order = revisited_case(0)
    (tmp_path / "gnd.json").write_text(json.dumps(gnd))
    gallery, found = [*gnd["imlist"], *[f"far_{n}" for n in range(order.shape[1] - 30)]], []
    for depth in (36, 28):
        whole = ranking_of(order, gnd["qimlist"], gallery)
        Ranking(
            whole.query_ids, whole.gallery_ids, whole.indices[:, :depth], whole.scores[:, :depth]
        ).save(tmp_path / "r.npz")
        found.append(
            figures(
                score_contests.revisited_file(
                    tmp_path / "r.npz", tmp_path / "gnd.json", "medium", "-"
                )
            )
        )
        text = score_contests.revisited_file(tmp_path / "r.npz", tmp_path / "gnd.json", "medium")
        assert ("lists of 28 of 36 images, right ones below add nothing" in text) == (depth == 28)
    assert (
        found[0].keys() == found[1].keys() and found[1]["revisited_map"] < found[0]["revisited_map"]
    )
    assert all(found[0][name] == found[1][name] for name in found[0].keys() - {"revisited_map"})


def test_a_shuffled_gallery_gives_the_same_revisited_figures(tmp_path):
    gnd, order = revisited_case(7)
    (tmp_path / "gnd.json").write_text(json.dumps(gnd))
    names = np.array([*gnd["imlist"], *[f"far_{n}" for n in range(6)]])
    place = np.random.default_rng(1).permutation(36)
    texts = []
    for ranking in (
        ranking_of(order, gnd["qimlist"], names),
        ranking_of(np.argsort(place)[order][::-1], gnd["qimlist"][::-1], names[place]),
    ):
        ranking.save(tmp_path / "r.npz")
        texts.append(
            score_contests.revisited_file(tmp_path / "r.npz", tmp_path / "gnd.json", "hard", "-")
        )
    assert texts[0] == texts[1]


@pytest.mark.parametrize(
    "change, said",
    [
        (
            lambda q, g: (q, g[1:]),
            "1 of its 30 gallery images are not ranked, the first is 'im_00'",
        ),
        (lambda q, g: (q[:-1], g), "1 of its 4 queries are not ranked, the first is 'q_3'"),
        (
            lambda q, g: ([*q[:-1], "q_3", "new"], g),
            "1 queries are not of this benchmark, the first is 'new'",
        ),
    ],
)
def test_a_ranking_of_something_else_is_refused(tmp_path, change, said):
    gnd, _ = revisited_case(0, distractors=0)
    (tmp_path / "gnd.json").write_text(json.dumps(gnd))
    queries, gallery = change(gnd["qimlist"], gnd["imlist"])
    order = np.tile(np.arange(len(gallery)), (len(queries), 1))
    ranking_of(order, queries, gallery).save(tmp_path / "r.npz")
    with pytest.raises(ArtefactError, match=said):
        score_contests.revisited_file(tmp_path / "r.npz", tmp_path / "gnd.json", "easy")


def test_a_gallery_that_holds_the_queries_is_refused(tmp_path):
    gnd, _ = revisited_case(0)
    (tmp_path / "gnd.json").write_text(json.dumps(gnd))
    gallery = [*gnd["imlist"], "q_0"]
    ranking_of(np.tile(np.arange(31), (4, 1)), gnd["qimlist"], gallery).save(tmp_path / "r.npz")
    with pytest.raises(
        DataError, match="distractors are images of the benchmark itself, the first is 'q_0'"
    ):
        score_contests.revisited_file(tmp_path / "r.npz", tmp_path / "gnd.json", "easy")


@pytest.mark.parametrize("divisor", ["relevant", "found"])
def test_a_digix_submission_is_scored_by_its_labels(tmp_path, divisor):
    random = np.random.default_rng(3)
    labels = random.integers(0, 4, 60)
    names = [f"g{n}.jpg" for n in range(60)]
    gallery = write(
        tmp_path / "g.txt", *[f"{name},{label}" for name, label in zip(names, labels, strict=True)]
    )
    queries = write(tmp_path / "q.txt", *[f"q{n}.jpg,{n % 5}" for n in range(15)])
    lists = [random.permutation(60)[:10] for _ in range(15)]
    said = write(
        tmp_path / "s.csv",
        *[f"q{n}.jpg,{{{','.join(names[row] for row in lists[n])}}}" for n in reversed(range(15))],
    )
    expected = []
    for number, rows in enumerate(lists):
        marks = [labels[row] == number % 5 for row in rows]
        if number % 5 < 4:
            total = sum(sum(marks[: at + 1]) / (at + 1) for at in range(10) if marks[at])
            relevant = (
                min(int((labels == number % 5).sum()), 10)
                if divisor == "relevant"
                else max(sum(marks), 1)
            )
            expected.append((marks[0], total / relevant))
    found = figures(score_contests.digix_file(said, queries, gallery, "-", divisor))
    assert found["digix"] == pytest.approx(np.mean(expected))
    assert found["top1"] == pytest.approx(np.mean([first for first, _ in expected]))


@pytest.mark.parametrize(
    "rows, said",
    [
        (["q.jpg,{g.jpg}"], "1 of 2 queries are missing, the first is 'r.jpg'"),
        (["q.jpg,{g.jpg}", "r.jpg,{new.jpg}"], "'new.jpg', which is not in the"),
    ],
)
def test_a_digix_submission_that_does_not_fit_is_refused(tmp_path, rows, said):
    queries, gallery = (
        write(tmp_path / "q.txt", "q.jpg,0", "r.jpg,1"),
        write(tmp_path / "g.txt", "g.jpg,0", "h.jpg,1"),
    )
    with pytest.raises(DataError, match=said):
        score_contests.digix_file(write(tmp_path / "s.csv", *rows), queries, gallery)
