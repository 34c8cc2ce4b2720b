"""non_landmark against loops."""

import numpy as np
import pytest

from fastseek.errors import ArtefactError, DataError, UsageError
from fastseek.recognition.distractors import measure_likeness
from fastseek.registry import RERANKERS, build
from fastseek.rerank.non_landmark import NonLandmark
from fastseek.search.exact import Exact
from fastseek.structures import Embeddings


def side(letter, count, seed, dim=5, provenance=None):
    vectors = np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)
    return Embeddings([f"{letter}{n:02d}" for n in range(count)], vectors, provenance or {})


def unit(vectors):
    return vectors / np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)


@pytest.mark.parametrize(
    ("gallery_k", "query_k", "depth"),
    [(5, 10, 40), (5, 10, 3), (0, 10, 40), (3, 0, 40), (0, 0, 7), (99, 99, 40)],
)
def test_scores_are_the_formula_in_a_double_loop(gallery_k, query_k, depth):
    """landmark row 48."""
    queries, gallery, others = side("q", 6, 1), side("g", 40, 2), side("n", 25, 3)
    ranking = Exact(k=depth)(queries, gallery)
    after = NonLandmark("", gallery_k, query_k).rerank_by(others, ranking, queries, gallery)
    q, g, n = (unit(part.vectors) for part in (queries, gallery, others))

    def mean_of_best(vector, k):
        return np.mean(sorted((float(vector @ other) for other in n), reverse=True)[:k]) if k else 0

    for row in range(6):
        worst = mean_of_best(q[row], query_k)
        new = {
            int(i): min(max(float(q[row] @ g[i]), 0), 1) - mean_of_best(g[i], gallery_k) - worst
            for i in ranking.indices[row]
        }
        np.testing.assert_allclose(
            after.scores[row], [new[i] for i in after.indices[row]], atol=1e-6
        )
        assert set(new) == set(after.indices[row].tolist())


def test_what_the_query_is_like_changes_no_order():
    queries, gallery, others = side("q", 6, 1), side("g", 40, 2), side("n", 25, 3)
    ranking = Exact(k=15)(queries, gallery)
    one, two = (NonLandmark("", 5, k).rerank_by(others, ranking, queries, gallery) for k in (0, 10))
    np.testing.assert_array_equal(one.indices, two.indices)
    gap = one.scores - two.scores
    np.testing.assert_allclose(gap, np.tile(gap[:, :1], (1, 15)), atol=1e-6)


def test_a_picture_of_the_set_is_not_compared_with_itself():
    """landmark row 48."""
    others = side("n", 25, 3)
    cosines = unit(others.vectors) @ unit(others.vectors).T
    np.fill_diagonal(cosines, -2)
    expected = -np.sort(-cosines, axis=1)[:, :10].mean(axis=1)
    np.testing.assert_allclose(measure_likeness(others, others, 10), expected, atol=1e-6)
    mixed = Embeddings(["n03", "x"], others.vectors[[3, 7]])
    cosines = unit(mixed.vectors) @ unit(others.vectors).T
    cosines[0, 3] = -2
    expected = -np.sort(-cosines, axis=1)[:, :4].mean(axis=1)
    np.testing.assert_allclose(measure_likeness(mixed, others, 4), expected, atol=1e-6)


def test_a_set_with_nothing_to_compare_is_refused():
    queries, one = side("q", 3, 1), side("n", 1, 2)
    with pytest.raises(
        DataError, match="'q00' has nothing to be compared with: the reference has 0 images"
    ):
        measure_likeness(queries, Embeddings([], np.empty((0, 5), np.float32)), 5)
    with pytest.raises(DataError, match="'n00' has nothing"):
        measure_likeness(one, one, 5)
    np.testing.assert_allclose(
        measure_likeness(queries, one, 5), unit(queries.vectors) @ unit(one.vectors)[0], atol=1e-6
    )


def test_a_set_of_another_model_is_refused():
    with pytest.raises(ArtefactError, match="images and reference differ in model"):
        measure_likeness(
            side("q", 3, 1, provenance={"model": "a"}),
            side("n", 9, 2, provenance={"model": "b"}),
            5,
        )


@pytest.mark.parametrize(
    "call", ["non_landmark()", "non_landmark('r', gallery_k=-1)", "non_landmark('r', query_k=-1)"]
)
def test_impossible_settings_are_refused(call):
    with pytest.raises(UsageError):
        build(call, RERANKERS)


def test_an_image_with_the_id_of_another_in_the_set_is_compared_with_it_all_the_same():
    """Bare vectors of two files have the same row numbers for ids."""
    random = np.random.default_rng(0)
    side, pictures = (random.normal(size=(count, 8)).astype(np.float32) for count in (5, 3))
    ids = [str(row) for row in range(5)]
    named = measure_likeness(
        Embeddings([f"i{name}" for name in ids], side), Embeddings(ids[:3], pictures), 2
    )
    np.testing.assert_array_equal(
        measure_likeness(Embeddings(ids, side), Embeddings(ids[:3], pictures), 2), named
    )
