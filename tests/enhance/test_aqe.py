import numpy as np
import pytest

from fastseek import compat  # noqa: F401  (before anything that imports fastreid)
from fastseek.enhance import aqe as module
from fastseek.enhance.aqe import Aqe
from fastseek.errors import DataError, UsageError
from fastseek.registry import ENHANCERS, build
from fastseek.search.exact import Exact
from fastseek.structures import Embeddings

oracle = pytest.importorskip("fastreid.evaluation.query_expansion")


def pair(seed, queries=9, gallery=50, dim=12):
    random = np.random.default_rng(seed)
    centres = random.normal(size=(6, dim))
    vectors = centres[random.integers(0, 6, queries + gallery)] + 0.3 * random.normal(
        size=(queries + gallery, dim)
    )
    vectors = vectors.astype(np.float32)
    return (
        Embeddings(np.arange(queries).astype(str), vectors[:queries], {"model": "m"}),
        Embeddings(np.arange(gallery).astype(str), vectors[queries:], {"model": "m"}),
    )


@pytest.mark.parametrize(
    ("k", "times", "alpha"), [(5, 1, 3.0), (10, 2, 3.0), (1, 1, 3.0), (4, 3, 0.0), (6, 1, 0.5)]
)
def test_vectors_are_those_of_fastreid(k, times, alpha):
    """finegrained row 18."""
    import torch

    for seed in range(3):
        queries, gallery = pair(seed)
        expected = oracle.aqe(
            torch.from_numpy(queries.vectors.copy()),
            torch.from_numpy(gallery.vectors.copy()),
            times,
            k,
            alpha,
        )
        for ours, theirs in zip(Aqe(k, times, alpha)(queries, gallery), expected, strict=True):
            np.testing.assert_allclose(ours.vectors, theirs.numpy(), rtol=0, atol=5e-6)


def test_a_negative_cosine_weighs_nothing():
    vectors = np.array([[1, 0], [-1, 0.1], [-1, -0.1]], np.float32)
    queries, gallery = Embeddings(["q"], vectors[:1]), Embeddings(["a", "b"], vectors[1:])
    for alpha in (3.0, 2.5):
        expanded, _ = Aqe(k=3, alpha=alpha)(queries, gallery)
        np.testing.assert_allclose(expanded.vectors, [[1 / 3, 0]], atol=1e-6)


def test_the_vector_itself_is_the_only_one_of_k_1():
    queries, gallery = pair(1)
    for before, after in zip((queries, gallery), Aqe(k=1)(queries, gallery), strict=True):
        np.testing.assert_allclose(after.vectors, before.vectors, rtol=1e-6)


def test_k_beyond_everything_there_is_takes_all():
    queries, gallery = pair(2, queries=2, gallery=3)
    one, two = (Aqe(k=k)(queries, gallery)[0].vectors for k in (5, 500))
    np.testing.assert_array_equal(one, two)


def test_the_order_of_the_gallery_and_the_blocks_change_nothing(monkeypatch):
    queries, gallery = pair(3)
    order = np.random.default_rng(0).permutation(len(gallery))
    whole = Aqe()(queries, gallery)
    monkeypatch.setattr(module, "ROWS", 7)
    turned = Aqe()(queries, Embeddings(gallery.ids[order], gallery.vectors[order]))
    np.testing.assert_allclose(turned[0].vectors, whole[0].vectors, atol=1e-6)
    np.testing.assert_allclose(turned[1].vectors, whole[1].vectors[order], atol=1e-6)


def test_ids_stay_and_what_was_passed_in_is_not_changed():
    queries, gallery = pair(4)
    before = queries.vectors.copy(), gallery.vectors.copy()
    after = Aqe(times=2)(queries, gallery)
    for side, old, new in zip((queries, gallery), before, after, strict=True):
        np.testing.assert_array_equal(side.vectors, old)
        np.testing.assert_array_equal(side.ids, new.ids)


def test_the_provenance_lists_the_steps_and_expanded_meets_only_expanded():
    queries, gallery = pair(5)
    expanded = build("aqe(k=3)", ENHANCERS)(queries, gallery)
    assert expanded[0].provenance == {"model": "m", "enhance": ["aqe(k=3, times=1, alpha=3.0)"]}
    Exact(k=2)(*expanded)


def test_a_zero_vector_is_named():
    queries, gallery = pair(6)
    vectors = gallery.vectors.copy()
    vectors[7] = 0
    with pytest.raises(DataError, match="g/7"):
        Aqe()(queries, Embeddings(gallery.ids, vectors))


@pytest.mark.parametrize("call", ["aqe(k=0)", "aqe(times=-1)", "aqe(alpha=-2)", "aqe(beta=1)"])
def test_impossible_settings_are_refused(call):
    with pytest.raises(UsageError):
        build(call, ENHANCERS)
