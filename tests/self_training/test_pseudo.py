"""Pseudo labels: what is accepted, where it is written, and when the rounds end."""

import dataclasses
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import toy
from fastseek.errors import ArtefactError, DataError, UsageError
from fastseek.self_training import test_data_guard
from fastseek.self_training.prototypes import floor, nearest_class, prototypes, similarity, taxonomy
from fastseek.self_training.pseudo_labels import (
    PseudoLabelRule,
    PseudoLabels,
    count_changes,
    decide,
    mask_probabilities,
)
from fastseek.self_training.temperature import scale_probabilities, temperature
from fastseek.self_training.test_data_guard import check_allowed
from fastseek.structures import Item


def table(seed, photos=40, classes=5):
    made = np.random.default_rng(seed).dirichlet(np.full(classes, 0.3), photos)
    return made.astype(np.float32)


def slow(probabilities, counts, rule, near, least):
    """The rules one photo at a time."""
    rows = range(len(probabilities))
    best = [max(range(len(counts)), key=lambda c, p=p: (p[c], -c)) for p in probabilities]
    taken = [
        row for row in rows if probabilities[row].sum() > 0 and (near is None or near[row] >= least)
    ]
    if rule.quantile is None:
        taken = [
            row for row in taken if probabilities[row][best[row]] >= np.float32(rule.threshold)
        ]
    for limit in ("quantile", "cap"):
        kept = []
        for number in range(len(counts)):
            own = sorted(
                (row for row in taken if best[row] == number),
                key=lambda r: (-probabilities[r].max(), r),
            )
            room = len(own)
            if limit == "quantile" and rule.quantile is not None:
                room = int(
                    np.round(rule.quantile * len(probabilities) * counts[number] / sum(counts))
                )
            if limit == "cap" and rule.cap is not None:
                room = rule.cap
            kept += own[:room]
        taken = kept
    return sorted(taken)


@given(
    st.integers(0, 10**6),
    st.sampled_from([0.0, 0.5, 0.9]),
    st.sampled_from([None, 0.2, 0.7]),
    st.sampled_from([None, 1, 4]),
    st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_who_is_accepted_is_what_the_slow_rules_accept(seed, threshold, quantile, cap, tested):
    """finegrained rows 64 and 83."""
    probabilities, counts = table(seed), np.array([9, 5, 3, 2, 1])
    near = np.random.default_rng(seed).uniform(0, 1, 40).astype(np.float32) if tested else None
    rule = PseudoLabelRule(threshold, quantile, cap)
    _, _, why = decide(probabilities, counts, rule, near, 0.4)
    assert np.flatnonzero(why == "").tolist() == slow(probabilities, counts, rule, near, 0.4)


def test_the_threshold_itself_is_accepted():
    """finegrained row 64."""
    probabilities = np.array([[0.95, 0.05], [0.94, 0.06]], np.float32)
    assert decide(probabilities, np.ones(2), PseudoLabelRule(0.95))[2].tolist()[0] == ""
    assert decide(probabilities, np.ones(2), PseudoLabelRule(0.95))[2][1].startswith("confidence")


def test_the_quantile_keeps_the_histogram_of_the_labelled_photos():
    """finegrained row 83."""
    probabilities = np.repeat(np.eye(2, dtype=np.float32) * 0.8 + 0.1, 100, axis=0)
    classes, _, why = decide(probabilities, np.array([30, 10]), PseudoLabelRule(quantile=0.4))
    assert np.bincount(classes[why == ""]).tolist() == [60, 20]


def test_classes_of_other_groups_are_masked_and_what_is_left_sums_to_one():
    """finegrained row 83."""
    probabilities = np.array([[0.6, 0.3, 0.1]] * 4, np.float32)
    made = mask_probabilities(
        probabilities, ["plants", "animals", "", "fungi"], [{"plants"}, {"animals"}, {"animals"}]
    )
    np.testing.assert_allclose(
        made, [[1, 0, 0], [0, 0.75, 0.25], [0.6, 0.3, 0.1], [0, 0, 0]], atol=1e-6
    )
    why = decide(made, np.ones(3), PseudoLabelRule(0.5))[2]
    assert why.tolist() == ["", "", "", "no class of its group"]


def test_a_class_of_unknown_group_is_never_masked():
    made = mask_probabilities(np.array([[0.5, 0.5]], np.float32), ["plants"], [set(), {"animals"}])
    np.testing.assert_allclose(made, [[1, 0]])


def test_groups_of_classes_come_from_the_labelled_photos():
    assert taxonomy(np.array([0, 0, 1, 1]), ["a", "b", "", "c"], 3) == [{"a", "b"}, {"c"}, set()]


def slow_floor(vectors, numbers, percentile):
    points = vectors.astype(np.float64) / np.linalg.norm(
        vectors.astype(np.float64), axis=1, keepdims=True
    )
    scores = []
    for row, number in enumerate(numbers):
        others = [
            points[other]
            for other in range(len(points))
            if numbers[other] == number and other != row
        ]
        if others:
            mean = np.mean(others, axis=0)
            scores.append(points[row] @ mean / np.linalg.norm(mean))
    return np.percentile(scores, percentile)


@given(st.integers(0, 10**6), st.sampled_from([0, 5, 50]))
@settings(max_examples=20, deadline=None)
def test_the_prototype_floor_is_that_of_leaving_every_photo_out(seed, percentile):
    """finegrained row 83."""
    random = np.random.default_rng(seed)
    vectors, numbers = random.normal(size=(20, 6)).astype(np.float32), random.integers(0, 6, 20)
    np.testing.assert_allclose(
        floor(vectors, numbers, percentile), slow_floor(vectors, numbers, percentile), atol=1e-5
    )


def test_the_prototype_test_refuses_photos_of_no_class():
    """finegrained row 83."""
    truth = np.repeat(np.arange(8), 20)
    vectors = toy.circle(truth, spread=0.05)
    known = truth < 4
    of_classes = prototypes(vectors[known], truth[known], 4)
    least = floor(vectors[known], truth[known], 5)
    taken = (
        similarity(vectors, of_classes, nearest_class(vectors, of_classes).argmax(axis=1)) >= least
    )
    assert taken[known].mean() > 0.9 and taken[~known].mean() < 0.1


def test_one_photo_a_class_leaves_nothing_to_test_with():
    with pytest.raises(DataError, match="no class has two"):
        floor(np.eye(3), np.arange(3))


def test_a_class_without_photos_is_nobodys_nearest():
    found = nearest_class(
        -np.eye(3, dtype=np.float32), prototypes(np.eye(3)[:2], np.array([0, 1]), 3)
    )
    assert (found.argmax(axis=1) != 2).all()


def test_the_temperature_is_that_of_a_fine_grid():
    truth = np.random.default_rng(0).integers(0, 5, 300)
    probabilities = table(1, 300)
    probabilities[np.arange(300), truth] += 0.5
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    grid = np.exp(np.linspace(np.log(0.05), np.log(20), 400))
    costs = [
        -np.log(scale_probabilities(probabilities, t)[np.arange(300), truth]).mean() for t in grid
    ]
    assert abs(np.log(temperature(probabilities, truth) / grid[int(np.argmin(costs))])) < 0.03


def test_a_temperature_moves_no_order_and_one_changes_nothing():
    probabilities = table(3)
    np.testing.assert_allclose(scale_probabilities(probabilities, 1), probabilities, atol=1e-6)
    assert np.array_equal(
        scale_probabilities(probabilities, 2.5).argmax(axis=1), probabilities.argmax(axis=1)
    )


def test_probabilities_that_were_made_too_sure_get_their_temperature_back():
    probabilities = table(5, 4000)
    truth = np.array(
        [
            np.random.default_rng(row).choice(5, p=p / p.sum())
            for row, p in enumerate(probabilities.astype(float))
        ]
    )
    assert abs(temperature(scale_probabilities(probabilities, 1 / 3), truth) - 3) < 0.3


def of_round(number, labels, why):
    size = len(labels)
    return PseudoLabels(
        np.array([f"photo {row}" for row in range(size)]),
        np.array(labels),
        np.full(size, 1 / 3, np.float32),
        np.full(size, np.nan, np.float32),
        np.array(why),
        number,
        "a",
    )


def test_where_every_label_comes_from_is_written_and_read_back(tmp_path):
    """finegrained row 64."""
    made = of_round(2, ["a", 'b,"c"'], ["", "cap: the class takes 1"])
    made.save(tmp_path / "round2.pseudo.csv")
    back = PseudoLabels.load(tmp_path / "round2.pseudo.csv")
    for field in dataclasses.fields(PseudoLabels):
        assert np.array_equal(
            getattr(made, field.name),
            getattr(back, field.name),
            equal_nan=field.name == "similarity",
        ), field.name
    assert (
        (tmp_path / "round2.pseudo.csv")
        .read_text()
        .startswith("id,label,confidence,similarity,round,model,accept")
    )
    with pytest.raises(DataError, match="cannot be read"):
        PseudoLabels.load(tmp_path / "none.csv")


def test_changes_count_labels_gained_lost_and_moved():
    """finegrained row 64."""
    before = of_round(1, ["a", "b", "c", "d", "e"], ["", "", "", "x", "x"])
    after = of_round(2, ["a", "c", "c", "d", "a"], ["", "", "x", "", "x"])
    assert count_changes(before, after) == pytest.approx(3 / 4)
    assert (
        count_changes(before, before) == 0
        and count_changes(of_round(1, ["a"], ["x"]), of_round(2, ["b"], ["x"])) == 0
    )


def test_test_photos_are_refused_unless_the_task_allows_them(tmp_path):
    """finegrained row 65, trap 25."""
    photo = tmp_path / "a.jpg"
    photo.write_bytes(b"")
    os.symlink(photo, tmp_path / "b.jpg")
    held_back, renamed = (
        Item(str(photo), split="query"),
        Item(str(tmp_path / "b.jpg"), split="train", id="other"),
    )
    for unlabelled in ([held_back], [renamed]):
        with pytest.raises(UsageError, match="TEST_DATA"):
            check_allowed(unlabelled, [held_back], False)
        check_allowed(unlabelled, [held_back], True)
    check_allowed([Item(str(tmp_path / "c.jpg"))], [held_back], False)


def test_F53_copies_and_hard_links_of_test_images_are_found_by_their_bytes(tmp_path):
    test, copy, linked, other, near = (tmp_path / f"{n}.jpg" for n in "abcde")
    test.write_bytes(b"test image")
    copy.write_bytes(b"test image")
    os.link(test, linked)
    other.write_bytes(b"another, longer")
    near.write_bytes(b"tset image")  # of the same size
    for path in (copy, linked):
        with pytest.raises(UsageError, match="1 of 3 unlabelled images are test images"):
            check_allowed([Item(str(one)) for one in (other, path, near)], [Item(str(test))], False)
    check_allowed([Item(str(one)) for one in (other, near)], [Item(str(test))], False)
    check_allowed([Item(str(copy))], [Item(str(test))], True)


def test_F53_only_files_of_a_test_images_size_are_read(tmp_path, monkeypatch):
    read = []
    real = test_data_guard.sha256
    monkeypatch.setattr(test_data_guard, "sha256", lambda path: read.append(path) or real(path))
    for number in range(20):
        (tmp_path / f"{number}").write_bytes(b"x" * (number + 1))
        (tmp_path / f"t{number}").write_bytes(b"y" * (number + 15))
    items = [Item(str(tmp_path / f"{number}")) for number in range(20)]
    test = [Item(str(tmp_path / f"t{number}")) for number in range(20)]
    check_allowed(items, test, False)
    assert len(read) == 12 and len(set(read)) == 12, "six pairs of one size, each read once"
    check_allowed([Item(str(tmp_path / "missing"))], test, False)


@pytest.mark.parametrize("values", [{"threshold": 1.5}, {"quantile": 0}, {"cap": 0}])
def test_impossible_rules_are_told(values):
    with pytest.raises(UsageError):
        PseudoLabelRule(**values)


def test_rows_that_do_not_fit_are_told():
    with pytest.raises(ArtefactError):
        mask_probabilities(table(0), ["a"], [{"a"}] * 5)
    with pytest.raises(ArtefactError):
        decide(table(0), np.ones(5), PseudoLabelRule(), np.ones(3))
