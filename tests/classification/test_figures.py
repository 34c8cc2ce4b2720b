"""Figures of a classifier."""

import numpy as np
import pytest

from fastseek.classification import class_numbers, evaluate
from fastseek.errors import ArtefactError, DataError, UsageError


def made(seed=0, photos=60, classes=7):
    random = np.random.default_rng(seed)
    probabilities = random.dirichlet(np.ones(classes), photos).astype(np.float32)
    truth = random.integers(-1, classes, photos)
    return probabilities, truth, random.integers(1, 200, classes)


def values(calls, *given):
    return {score.name: score.value for score in evaluate(*given, calls)}


def test_top_k_is_what_sorting_every_row_gives():
    probabilities, truth, counts = made()
    found = values(["top(1, 3)"], probabilities, truth, counts)
    for k in (1, 3):
        right = [
            true in sorted(range(7), key=lambda c: (-row[c], c))[:k]
            for row, true in zip(probabilities, truth, strict=True)
            if true >= 0
        ]
        assert found[f"top({k})"] == pytest.approx(np.mean(right))


def test_equal_probabilities_stand_by_class_number():
    flat = np.full((2, 4), 0.25, np.float32)
    assert values(["top(1, 2)"], flat, np.array([0, 1]), np.ones(4))["top(1)"] == 0.5
    assert values(["top(2)"], flat, np.array([0, 1]), np.ones(4))["top(2)"] == 1


def test_a_photo_of_an_unknown_class_is_left_out_and_counted():
    probabilities, truth, counts = made()
    score = evaluate(probabilities, truth, counts, ["top(1)"])[0]
    assert (
        np.isnan(score.per_query[truth < 0]).all()
        and not np.isnan(score.per_query[truth >= 0]).any()
    )
    assert score.protocol["of no known class"] == (truth < 0).sum()
    inside = truth >= 0
    assert score.value == values(["top(1)"], probabilities[inside], truth[inside], counts)["top(1)"]


def test_class_mean_is_the_mean_over_classes_of_their_accuracy():
    probabilities, truth, counts = made(1)
    score = evaluate(probabilities, truth, counts, ["class_mean"])[0]
    right = probabilities.argmax(axis=1) == truth
    assert score.value == pytest.approx(
        np.mean([right[truth == c].mean() for c in set(truth[truth >= 0])])
    )
    assert np.nanmean(score.per_query) == pytest.approx(score.value)


def test_accuracy_by_class_size_covers_every_photo_once():
    """finegrained row 70."""
    probabilities, truth, _ = made(2)
    counts = np.array([5, 20, 21, 60, 100, 101, 180])
    scores = evaluate(probabilities, truth, counts, ["by_size(20, 100)"])
    covered = np.stack([~np.isnan(score.per_query) for score in scores])
    assert (covered.sum(axis=0) == (truth >= 0)).all()
    for score, (low, high) in zip(scores, ((0, 20), (21, 100), (101, 10**9)), strict=True):
        chosen = [n for n, true in enumerate(truth) if true >= 0 and low <= counts[true] <= high]
        assert score.value == pytest.approx(
            np.mean([probabilities[n].argmax() == truth[n] for n in chosen])
        )


def test_calibration_error_is_the_weighted_gap_of_the_bins():
    probabilities, truth, counts = made(3, 300)
    error, kept = 0.0, truth >= 0
    for low in np.arange(10) / 10:
        rows = [
            n for n in np.flatnonzero(kept) if low < probabilities[n].max() <= low + 0.1 + 1e-12
        ]
        if rows:
            right = np.mean([probabilities[n].argmax() == truth[n] for n in rows])
            error += (
                len(rows)
                / kept.sum()
                * abs(right - np.mean([probabilities[n].max() for n in rows]))
            )
    assert values(["calibration(bins=10)"], probabilities, truth, counts)["ece"] == pytest.approx(
        error, abs=1e-6
    )


def test_sure_and_right_has_no_calibration_error_sure_and_wrong_has_all_of_it():
    sure = np.eye(4, dtype=np.float32)
    assert values(["calibration"], sure, np.arange(4), np.ones(4))["ece"] == 0
    assert values(["calibration"], sure, np.roll(np.arange(4), 1), np.ones(4))["ece"] == 1


def test_a_monotone_change_moves_no_figure_of_order():
    probabilities, truth, counts = made(4)
    calls = ["top(1, 3)", "class_mean", "by_size(50)"]
    assert values(calls, probabilities, truth, counts) == values(
        calls, np.sqrt(probabilities), truth, counts
    )


def test_permuting_the_photos_permutes_the_answer():
    probabilities, truth, counts = made(5)
    order = np.random.default_rng(0).permutation(len(truth))
    first, second = (
        evaluate(p, t, counts, ["top(1)", "class_mean"])
        for p, t in ((probabilities, truth), (probabilities[order], truth[order]))
    )
    for one, other in zip(first, second, strict=True):
        assert np.allclose(one.per_query[order], other.per_query, equal_nan=True)


def test_labels_become_the_numbers_of_the_model():
    assert class_numbers(["b", "z", "a"], ["a", "b"]).tolist() == [1, -1, 0]


@pytest.mark.parametrize(
    ("harm", "error"),
    [
        ("shape", ArtefactError),
        ("beyond", ArtefactError),
        ("nan", DataError),
        ("unknown", DataError),
        ("none", UsageError),
    ],
)
def test_what_does_not_fit_is_refused(harm, error):
    probabilities, truth, counts = made(6)
    calls = [] if harm == "none" else ["top(1)"]
    if harm == "nan":
        probabilities[3, 2] = np.nan
    truth = {"shape": truth[1:], "beyond": truth + 7, "unknown": truth * 0 - 1}.get(harm, truth)
    with pytest.raises(error):
        evaluate(probabilities, truth, counts, calls)


@pytest.mark.parametrize(
    "call", ["top()", "top(0)", "by_size()", "by_size(5, 5)", "calibration(0)"]
)
def test_an_impossible_figure_is_wrong_use(call):
    with pytest.raises(UsageError):
        evaluate(*made(), [call])
