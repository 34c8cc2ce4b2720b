"""sinkhorn against plain division of rows and columns."""

import numpy as np
import pytest

from fastseek.errors import UsageError
from fastseek.registry import RERANKERS, build
from fastseek.rerank.sinkhorn import Sinkhorn, balance
from fastseek.search.exact import Exact
from fastseek.structures import Embeddings


def pair(seed, queries=3, gallery=15, dim=6):
    random = np.random.default_rng(seed)
    sides = [random.normal(size=(count, dim)).astype(np.float32) for count in (queries, gallery)]
    return [
        Embeddings([f"{name}{n:02d}" for n in range(len(one))], one)
        for name, one in zip("qg", sides, strict=True)
    ]


def slow(vectors, temperature, steps, alpha):
    """Rows and columns are divided by their sums in turn, a thousand times; the walk is a sum of
    powers.
    """
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    matrix = np.exp(vectors @ vectors.T / temperature)
    np.fill_diagonal(matrix, 0)
    for _ in range(1000):
        matrix = matrix / matrix.sum(axis=1, keepdims=True)
        matrix = matrix / matrix.sum(axis=0, keepdims=True)
    powers = [np.linalg.matrix_power(matrix, step) * alpha ** (step - 1) for step in range(1, 9)]
    return sum(powers[:steps])[0, 1:]


@pytest.mark.parametrize("steps, alpha", [(1, 0.9), (2, 1.0), (5, 0.5)])
def test_scores_are_those_of_plain_divisions(steps, alpha):
    queries, gallery = pair(steps)
    ranking = Exact(k=9)(queries, gallery)
    after = Sinkhorn(7, 0.4, 300, steps, alpha)(ranking, queries, gallery)
    for row, query in enumerate(queries.vectors):
        best = ranking.indices[row, :7]
        both = np.concatenate([query[None], gallery.vectors[best]]).astype(np.float64)
        new = dict(zip(best.tolist(), slow(both, 0.4, steps, alpha), strict=True))
        expected = [new[one] for one in after.indices[row, :7]]
        np.testing.assert_allclose(after.scores[row, :7], expected, atol=1e-6)
        np.testing.assert_array_equal(after.indices[row, 7:], ranking.indices[row, 7:])


@pytest.mark.parametrize("size", [2, 3, 12])
def test_every_row_and_column_sums_to_one_at_any_scale(size):
    vectors = np.random.default_rng(size).normal(size=(size, 4))
    # exp of these would be more than float64 holds, by hundreds of orders.
    for shift in (0, 5000):
        made = balance(vectors @ vectors.T + shift, 500)
        np.testing.assert_allclose(made.sum(axis=0), 1, atol=1e-6)
        np.testing.assert_allclose(made, made.T, atol=1e-12)
        assert (np.diag(made) == 0).all()


@pytest.mark.parametrize("wrong", ["m=0", "temperature=0", "rounds=0", "steps=0", "alpha=2"])
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(UsageError):
        build(f"sinkhorn({wrong})", RERANKERS)
