"""Optional rules of recognition contests against loops."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastseek.cli._recognize import recognize_classified_files
from fastseek.enhance._concatenated import concatenate
from fastseek.errors import ArtefactError, UsageError
from fastseek.recognition.predict import Predictions
from fastseek.recognition.rules import ClassifierRule, ban_frequent, recognize_with_classifier
from fastseek.structures import Embeddings


def predictions(seed, count=30, classes=6):
    random = np.random.default_rng(seed)
    return Predictions(
        np.array([f"q{n:02d}" for n in range(count)]),
        random.integers(0, classes, count).astype(str),
        random.normal(size=count),
    )


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 9))
def test_a_landmark_predicted_too_often_stands_below_all_others_in_its_own_order(seed, most):
    """landmark row 50."""
    before = predictions(seed)
    after = ban_frequent(before, most)
    often = [list(before.labels).count(label) > most for label in before.labels]
    for row, banned in enumerate(often):
        for other, too in enumerate(often):
            if banned == too:
                assert (before.scores[row] < before.scores[other]) == (
                    after.scores[row] < after.scores[other]
                )
            elif banned:
                assert after.scores[row] < after.scores[other]
    kept = ~np.array(often)
    assert np.array_equal(after.scores[kept], before.scores[kept])
    assert np.array_equal(after.labels, before.labels) and np.array_equal(after.ids, before.ids)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_the_count_becomes_the_score_of_a_landmark_predicted_too_often(seed):
    """landmark row 50."""
    before = predictions(seed)
    after = ban_frequent(before, 4, "count")
    for label, old, new in zip(before.labels, before.scores, after.scores, strict=True):
        count = list(before.labels).count(label)
        assert new == (-count if count > 4 else old)


def test_a_landmark_of_every_query_keeps_its_order():
    same = Predictions(np.array(["a", "b"]), np.array(["7", "7"]), np.array([0.5, 0.1]))
    assert list(ban_frequent(same, 1).scores) == [0.5, 0.1]
    for wrong in ({"most": 0}, {"rule": "drop"}):
        with pytest.raises(UsageError):
            ban_frequent(same, **wrong)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 7))
def test_neighbours_times_classifier_is_its_definition(seed, votes):
    """landmark row 50: cos^9 * p^10."""
    random = np.random.default_rng(seed)
    queries, reference = random.normal(size=(5, 6)), random.normal(size=(12, 6))
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    reference /= np.linalg.norm(reference, axis=1, keepdims=True)
    labels = random.integers(0, 5, 12).astype(str)
    classes = ["0", "2", "3", "9"]
    likely = random.uniform(-0.2, 1, (5, 4))
    sides = [
        Embeddings([f"{letter}{n:02d}" for n in range(len(rows))], rows.astype(np.float32))
        for letter, rows in (("q", queries), ("r", reference))
    ]
    found = recognize_with_classifier(*sides, labels, likely, classes, ClassifierRule(votes=votes))
    for row in range(5):
        scores = {}
        for image in sorted(range(12), key=lambda one: -float(queries[row] @ reference[one]))[
            :votes
        ]:
            cosine, label = float(queries[row] @ reference[image]), labels[image]
            chance = likely[row, classes.index(label)] if label in classes else 1e-8
            scores[label] = scores.get(label, 0) + cosine**9 * max(chance, 1e-8) ** 10
        assert found.scores[row] == pytest.approx(max(scores.values()), rel=1e-4, abs=1e-12)
        assert scores[found.labels[row]] == pytest.approx(max(scores.values()), rel=1e-4, abs=1e-12)


def test_a_classifier_of_another_shape_is_refused():
    one = Embeddings(["a"], np.ones((1, 2), np.float32))
    with pytest.raises(UsageError, match=r"\(1, 2\)"):
        recognize_with_classifier(one, one, ["x"], np.ones((1, 3)), ["x", "y"])


def test_classified_files_give_a_submission_of_neighbors_times_classifier(tmp_path):
    """landmark row 50, from files: two models, two classifiers, queries in another order."""
    random = np.random.default_rng(4)
    labels = random.integers(0, 4, 12).astype(str)
    ids = [f"q{n}" for n in range(5)], [f"r{n:02d}" for n in range(12)]
    sides = [
        [Embeddings(names, random.normal(size=(len(names), 6)).astype(np.float32)) for names in ids]
        for _ in range(2)
    ]
    likely = random.uniform(0, 1, (2, 5, 3)).astype(np.float32)
    for number, (queries, reference) in enumerate(sides):
        queries.save(tmp_path / f"q{number}")
        reference.save(tmp_path / f"r{number}")
        turned = Embeddings(ids[0][::-1], likely[number][::-1], {"classes": ["0", "2", "9"]})
        turned.save(tmp_path / f"c{number}")
    (tmp_path / "train.csv").write_text(
        "id,landmark_id\n" + "".join(f"{a},{b}\n" for a, b in zip(ids[1], labels, strict=True))
    )
    paths = [[tmp_path / f"{letter}{n}" for n in range(2)] for letter in "qrc"]
    given = paths[0], paths[1], tmp_path / "train.csv", paths[2], tmp_path / "out.csv"
    assert recognize_classified_files(*given).startswith("5 queries")
    both = [concatenate([one[side] for one in sides]) for side in (0, 1)]
    expected = recognize_with_classifier(*both, labels, likely.mean(axis=0), ["0", "2", "9"])
    lines = (tmp_path / "out.csv").read_text().splitlines()[1:]
    for line, name, label, score in zip(
        lines, expected.ids, expected.labels, expected.scores, strict=True
    ):
        image, answer = line.split(",")
        assert (image, answer.split()[0]) == (name, label)
        assert float(answer.split()[1]) == pytest.approx(score, rel=1e-4)


@pytest.mark.parametrize(
    ("ids", "classes", "told"),
    [
        (["q0"], ["0", "1"], "no class scores of query 'q1'"),
        (["q0", "q1"], ["0"], "2 columns and 1 names"),
        (["q0", "q1"], ["1", "0"], "expected those of"),
    ],
)
def test_class_scores_that_do_not_fit_are_named(tmp_path, ids, classes, told):
    for name, names, says in (
        ("q", ["q0", "q1"], {}),
        ("r", ["r0", "r1"], {}),
        ("c", ["q0", "q1"], {"classes": ["0", "1"]}),
        ("other", ids, {"classes": classes}),
    ):
        Embeddings(names, np.eye(2, dtype=np.float32)[: len(names)], says).save(tmp_path / name)
    (tmp_path / "l.csv").write_text("id,landmark_id\nr0,1\nr1,0\n")
    given = [tmp_path / "q"], [tmp_path / "r"], tmp_path / "l.csv"
    with pytest.raises(ArtefactError, match=f"other: .*{told}"):
        scores = [tmp_path / "c", tmp_path / "other"]
        recognize_classified_files(*given, scores, tmp_path / "out.csv")
    with pytest.raises(UsageError, match="at least one classifier"):
        recognize_classified_files(*given, [], tmp_path / "out.csv")
