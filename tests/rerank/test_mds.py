"""mds against distances and means written out."""

import numpy as np
import pytest

from fastseek.errors import UsageError
from fastseek.registry import RERANKERS, build
from fastseek.rerank.mds import Mds, scale
from fastseek.search.exact import Exact
from fastseek.structures import Embeddings


def squared(points):
    return np.array([[((one - other) ** 2).sum() for other in points] for one in points])


def slow(vectors, dims, k, gamma):
    """Points by the singular values of the centered matrix, means in loops."""
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    count = len(vectors)
    distances = 2 - 2 * np.clip(vectors @ vectors.T, 0, 1) ** gamma
    center = np.eye(count) - 1 / count
    values, turned = np.linalg.eigh(-center @ distances @ center / 2)
    kept = [n for n in np.argsort(-values)[:dims] if values[n] > 1e-9]
    points = turned[:, kept] * np.sqrt(values[kept])
    means = []
    for one in range(count):
        others = [n for n in range(1, count) if n != one]
        others.sort(key=lambda n, one=one: ((points[n] - points[one]) ** 2).sum())
        means.append(np.mean([points[one], *points[others[: min(k, count - 2)]]], axis=0))
    return [-((mean - means[0]) ** 2).sum() for mean in means[1:]]


@pytest.mark.parametrize("dims, k, gamma", [(3, 2, 1.0), (50, 0, 3.0), (5, 40, 2.0)])
def test_scores_are_those_of_loops(dims, k, gamma):
    random = np.random.default_rng(dims)
    queries = Embeddings(["a", "b"], random.normal(size=(2, 5)).astype(np.float32))
    gallery = Embeddings(
        [f"g{n:02d}" for n in range(14)], random.normal(size=(14, 5)).astype(np.float32)
    )
    ranking = Exact(k=11)(queries, gallery)
    after = Mds(8, dims, k, gamma)(ranking, queries, gallery)
    for row, query in enumerate(queries.vectors):
        best = ranking.indices[row, :8]
        both = np.concatenate([query[None], gallery.vectors[best]]).astype(np.float64)
        new = dict(zip(best.tolist(), slow(both, dims, k, gamma), strict=True))
        expected = [new[one] for one in after.indices[row, :8]]
        np.testing.assert_allclose(after.scores[row, :8], expected, atol=1e-5)
        np.testing.assert_array_equal(after.indices[row, 8:], ranking.indices[row, 8:])


def test_distances_of_points_are_found_again():
    points = np.random.default_rng(0).normal(size=(9, 3))
    made = scale(squared(points), 3)
    assert made.shape == (9, 3)
    np.testing.assert_allclose(squared(made), squared(points), atol=1e-9)


def test_points_that_are_one_have_no_dimension():
    assert scale(np.zeros((4, 4)), 3).shape == (4, 0)


@pytest.mark.parametrize("wrong", ["m=0", "dims=0", "k=-1", "gamma=0"])
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(UsageError):
        build(f"mds({wrong})", RERANKERS)
