"""Seeded clusters."""

import numpy as np
import pytest

import toy
from fastseek.errors import DataError, UsageError
from fastseek.self_training.seeded_clustering import recluster

TRUTH = np.repeat(np.arange(6), 15)
VECTORS = toy.circle(TRUTH, spread=0.08)
NAMES = np.array(list("abcdef"))


def labelled(classes=3, each=3):
    """The first photos of the first classes keep their label."""
    return [
        NAMES[one] if one < classes and row % 15 < each else "" for row, one in enumerate(TRUTH)
    ]


def slow(vectors, labels, start, niter):
    """Lloyd's rounds one photo at a time in float64; the first centroids are given."""
    points = vectors.astype(np.float64) / np.linalg.norm(
        vectors.astype(np.float64), axis=1, keepdims=True
    )
    names, centroids = sorted(set(labels) - {""}), [one.astype(np.float64) for one in start]
    for _ in range(niter):
        numbers = [
            names.index(label) if label else int(np.argmax([point @ one for one in centroids]))
            for point, label in zip(points, labels, strict=True)
        ]
        for number in range(len(centroids)):
            rows = [row for row, one in enumerate(numbers) if one == number]
            if rows:
                mean = sum(points[row] for row in rows)
                centroids[number] = mean / np.linalg.norm(mean)
    return [
        names.index(label) if label else int(np.argmax([point @ one for one in centroids]))
        for point, label in zip(points, labels, strict=True)
    ]


def test_labelled_photos_stay_with_their_class_and_classes_come_first():
    """finegrained row 84."""
    labels = labelled()
    labels[1] = "b"  # mislabelled, and still fixed
    found = recluster(VECTORS, labels, per=15)
    assert found.names[:3] == ("a", "b", "c") and set(found.names[3:]) == {""}
    assert all(
        found.names[number] == label
        for number, label in zip(found.numbers, labels, strict=True)
        if label
    )


def test_unknown_classes_get_centroids_of_their_own():
    """finegrained row 84."""
    found = [recluster(VECTORS, labelled(), per=26, seed=seed) for seed in range(5)]
    assert {len(one) for one in found} == {6}
    clean = [
        all(len(set(TRUTH[one.numbers == number])) == 1 for number in range(6)) for one in found
    ]
    assert sum(clean) >= 4  # k-means may end in a worse place


def test_without_further_centroids_it_is_the_slow_rounds_from_the_class_means():
    """finegrained row 84."""
    labels, noise = labelled(6, 2), np.random.default_rng(2).normal(size=(90, 8)).astype(np.float32)
    points = noise / np.linalg.norm(noise, axis=1, keepdims=True)
    start = [
        points[[row for row, one in enumerate(labels) if one == name]].mean(axis=0)
        for name in NAMES
    ]
    start = [one / np.linalg.norm(one) for one in start]
    found = recluster(noise, labels, per=0, niter=4)
    assert found.numbers.tolist() == slow(noise, labels, start, 4)


def test_more_rounds_never_make_the_clusters_looser():
    noise, costs = np.random.default_rng(2).normal(size=(90, 8)).astype(np.float32), []
    points = noise / np.linalg.norm(noise, axis=1, keepdims=True)
    for niter in (1, 2, 4, 8):
        found = recluster(noise, labelled(), per=20, niter=niter)
        costs.append(float((points * found.centroids[found.numbers]).sum()))
    assert costs == sorted(costs)


def test_photos_go_only_to_classes_and_centroids_of_their_group():
    groups = np.where(TRUTH < 2, "plants", "animals")
    found = recluster(VECTORS, labelled(), groups, per=12)
    for number, group in zip(found.numbers, groups, strict=True):
        assert number >= 0 and found.groups[number] == group


def test_photos_of_a_group_without_classes_and_centroids_have_no_cluster():
    groups = np.where(TRUTH == 5, "fungi", "animals")
    assert (recluster(VECTORS, labelled(), groups, per=0).numbers[TRUTH == 5] == -1).all()


def test_the_same_seed_gives_the_same_clusters():
    first, again = (recluster(VECTORS, labelled(), per=10, seed=7) for _ in range(2))
    assert np.array_equal(first.numbers, again.numbers)


def test_what_was_passed_in_is_not_changed():
    before = VECTORS.copy()
    recluster(VECTORS, labelled(), per=10)
    assert np.array_equal(VECTORS, before)


def test_impossible_seeds_are_told():
    with pytest.raises(DataError, match="no image has a label"):
        recluster(VECTORS, [""] * len(VECTORS))
    with pytest.raises(UsageError):
        recluster(VECTORS, labelled(), niter=0)
