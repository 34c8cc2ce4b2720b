"""alpha_qe and dba against double loops."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastseek.enhance import _expansion, _sides
from fastseek.enhance.alpha_qe import AlphaQe
from fastseek.enhance.dba import Dba
from fastseek.errors import ArtefactError, DataError, UsageError
from fastseek.registry import ENHANCERS, build
from fastseek.search.exact import Exact
from fastseek.structures import Embeddings


def pair(seed=0, queries=7, gallery=40, dim=10):
    random = np.random.default_rng(seed)
    centres = random.normal(size=(5, dim))
    vectors = centres[random.integers(0, 5, queries + gallery)] + 0.4 * random.normal(
        size=(queries + gallery, dim)
    )
    vectors = vectors.astype(np.float32) * random.uniform(0.5, 2, size=(len(vectors), 1)).astype(
        np.float32
    )
    return (
        Embeddings([f"q{n:02d}" for n in range(queries)], vectors[:queries], {"model": "m"}),
        Embeddings([f"g{n:02d}" for n in range(gallery)], vectors[queries:], {"model": "m"}),
    )


def slow(vectors, pool, k, alpha, own):
    """Sum over the k most similar, one vector at a time; `own`: whether row n of the pool is vector
    n itself.
    """

    def unit(rows):
        return [row / np.sqrt((row.astype(np.float64) ** 2).sum()) for row in rows]

    made, pool = [], unit(pool)
    for number, vector in enumerate(unit(vectors)):
        cosines = [
            (float(vector @ other), -place)
            for place, other in enumerate(pool)
            if not own or place != number
        ]
        total = vector.copy()
        for cosine, place in sorted(cosines, reverse=True)[:k]:
            total += max(cosine, 0) ** alpha * pool[-place]
        made.append(total / np.sqrt((total**2).sum()))
    return np.array(made)


@pytest.mark.parametrize(("k", "alpha"), [(1, 3.0), (10, 3.0), (4, 0.0), (5, 0.5), (500, 1.0)])
def test_queries_are_expanded_as_defined_and_the_gallery_stays(k, alpha):
    """finegrained row 18."""
    for seed in range(3):
        queries, gallery = pair(seed)
        after = AlphaQe(k, alpha)(queries, gallery)
        expected = slow(queries.vectors, gallery.vectors, k, alpha, False)
        np.testing.assert_allclose(after[0].vectors, expected, atol=1e-6)
        np.testing.assert_array_equal(after[1].vectors, gallery.vectors)


@pytest.mark.parametrize(("k", "alpha"), [(1, 3.0), (10, 3.0), (4, 0.0), (500, 1.0)])
def test_the_gallery_is_augmented_as_defined_and_the_queries_stay(k, alpha):
    """finegrained row 18."""
    for seed in range(3):
        queries, gallery = pair(seed)
        after = Dba(k, alpha)(queries, gallery)
        expected = slow(gallery.vectors, gallery.vectors, k, alpha, True)
        np.testing.assert_allclose(after[1].vectors, expected, atol=1e-6)
        np.testing.assert_array_equal(after[0].vectors, queries.vectors)


def test_a_worked_example():
    queries = Embeddings(["q"], np.array([[2, 0]], np.float32))
    gallery = Embeddings(["a", "b"], np.array([[0.6, 0.8], [0, 5]], np.float32))
    total = np.array([1 + 0.6**2 * 0.6, 0.6**2 * 0.8])
    expanded, _ = AlphaQe(k=1, alpha=2)(queries, gallery)
    np.testing.assert_allclose(expanded.vectors[0], total / np.linalg.norm(total), atol=1e-6)
    _, augmented = Dba(k=1, alpha=2)(queries, gallery)
    total = np.array([0.6, 0.8 + 0.8**2 * 1])
    np.testing.assert_allclose(augmented.vectors[0], total / np.linalg.norm(total), atol=1e-6)


def test_a_negative_cosine_weighs_nothing():
    queries = Embeddings(["q"], np.array([[1, 0]], np.float32))
    gallery = Embeddings(["a", "b"], np.array([[-1, 0.1], [-1, -0.5]], np.float32))
    np.testing.assert_allclose(AlphaQe(k=2)(queries, gallery)[0].vectors, [[1, 0]], atol=1e-7)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10_000))
def test_a_query_is_expanded_alike_alone_and_among_others(seed):
    queries, gallery = pair(seed)
    whole = AlphaQe()(queries, gallery)[0].vectors
    alone = AlphaQe()(Embeddings(queries.ids[2:3], queries.vectors[2:3]), gallery)[0].vectors
    np.testing.assert_allclose(alone[0], whole[2], atol=1e-7)


def test_equal_vectors_stay_equal_and_count_each_other_but_not_themselves():
    random = np.random.default_rng(0)
    others = random.normal(size=(6, 4))
    gallery = Embeddings(
        np.arange(16).astype(str),
        np.concatenate([np.tile([1.0, 2, 3, 4], (10, 1)), others]).astype(np.float32),
    )
    for k in (2, 9, 12):
        _, after = Dba(k, alpha=1)(gallery, gallery)
        np.testing.assert_allclose(
            after.vectors[:10], np.tile(after.vectors[0], (10, 1)), atol=1e-6
        )
        np.testing.assert_allclose(
            after.vectors, slow(gallery.vectors, gallery.vectors, k, 1, True), atol=1e-6
        )


@pytest.mark.parametrize("part", [AlphaQe(), Dba()])
def test_the_order_of_the_gallery_and_the_blocks_change_nothing(part, monkeypatch):
    queries, gallery = pair(3)
    whole = part(queries, gallery)
    order = np.random.default_rng(0).permutation(len(gallery))
    monkeypatch.setattr(_expansion, "CELLS", 1)
    monkeypatch.setattr(_sides, "IN_MEMORY", 0)
    turned = part(queries, Embeddings(gallery.ids[order], gallery.vectors[order]))
    np.testing.assert_allclose(turned[0].vectors, whole[0].vectors, atol=1e-6)
    np.testing.assert_allclose(turned[1].vectors, whole[1].vectors[order], atol=1e-6)


def test_shards_on_disk_give_the_same(tmp_path):
    queries, gallery = pair(4)
    gallery.save(tmp_path / "g", rows=7)
    for part in (AlphaQe(), Dba()):
        for one, two in zip(
            part(queries, gallery), part(queries, Embeddings.load(tmp_path / "g")), strict=True
        ):
            np.testing.assert_array_equal(np.asarray(one.vectors), np.asarray(two.vectors))


def test_what_was_expanded_meets_only_what_belongs_to_it():
    queries, gallery = pair(5)
    after = AlphaQe(3)(queries, gallery)
    assert (
        after[0].provenance
        == after[1].provenance
        == {"model": "m", "enhance": ["alpha_qe(k=3, alpha=3.0)"]}
    )
    Exact(k=2)(*after)
    with pytest.raises(ArtefactError, match="differ in enhance"):
        Exact(k=2)(after[0], Dba()(queries, gallery)[1])


@pytest.mark.parametrize("part", [AlphaQe(), Dba()])
def test_a_zero_vector_is_named(part):
    queries, gallery = pair(6)
    vectors = gallery.vectors.copy()
    vectors[7] = 0
    with pytest.raises(DataError, match="g07"):
        part(queries, Embeddings(gallery.ids, vectors))


@pytest.mark.parametrize(
    "call", ["alpha_qe(k=0)", "alpha_qe(alpha=-1)", "dba(k=0)", "dba(alpha=-1)", "dba(times=2)"]
)
def test_impossible_settings_are_refused(call):
    with pytest.raises(UsageError):
        build(call, ENHANCERS)
