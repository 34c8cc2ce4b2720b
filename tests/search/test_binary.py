"""Codes of one bit a number."""

import numpy as np
import pytest

from fastseek.errors import DataError, UsageError
from fastseek.knn.signs import count_differences, nearest_by_signs, pack_signs
from fastseek.registry import ENHANCERS, SEARCHERS, build
from fastseek.search.exact import Exact
from fastseek.structures import Embeddings


def make(rows, dim, seed, prefix):
    random = np.random.default_rng(seed)
    vectors = random.normal(size=(rows, dim)).astype(np.float32)
    return Embeddings([f"{prefix}{row:04d}" for row in range(rows)], vectors, {})


@pytest.mark.parametrize("dim", [1, 7, 64, 65, 200])
def test_codes_differ_where_signs_do(dim):
    one, two = make(5, dim, 0, "q").vectors, make(9, dim, 1, "g").vectors
    found = count_differences(pack_signs(one), pack_signs(two))
    wanted = [[int(((a > 0) != (b > 0)).sum()) for b in two] for a in one]
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("rows", [1, 40, 300])
def test_the_nearest_differ_least_and_ties_stand_by_row(rows, monkeypatch):
    monkeypatch.setattr("fastseek.knn.signs.PAIRS", 64)  # many blocks
    one, two = pack_signs(make(6, 12, 2, "q").vectors), pack_signs(make(rows, 12, 3, "g").vectors)
    differences = count_differences(one, two)
    wanted = [sorted(range(rows), key=lambda row: (line[row], row))[:20] for line in differences]
    np.testing.assert_array_equal(nearest_by_signs(one, two, 20), wanted)


@pytest.mark.parametrize("metric", ["cosine", "ip", "l2"])
@pytest.mark.parametrize("rotate", [False, True])
def test_a_thorough_search_is_the_exact_search_bit_by_bit(metric, rotate):
    queries, gallery = make(30, 24, 4, "q"), make(200, 24, 5, "g")
    found = build(f"binary(k=9, rescore=200, rotate={rotate}, metric={metric!r})", SEARCHERS)(
        queries, gallery
    )
    exact = Exact(k=9, metric=metric)(queries, gallery)
    np.testing.assert_array_equal(found.indices, exact.indices)
    np.testing.assert_array_equal(found.scores, exact.scores)
    assert found.provenance["recall"]["value"] == 1.0


def test_signs_are_counted_from_the_mean_of_the_gallery():
    """Vectors behind a ReLU have no number below zero: without the mean all codes were alike."""
    queries, gallery = make(40, 48, 6, "q"), make(400, 48, 7, "g")
    moved = [Embeddings(one.ids, np.abs(one.vectors) + 5, {}) for one in (queries, gallery)]
    found = build("binary(k=5, rescore=8, metric='l2')", SEARCHERS)(*moved)
    assert found.provenance["recall"]["value"] > 0.5
    again = build("binary(k=5, rescore=8, metric='l2')", SEARCHERS)(*moved)
    np.testing.assert_array_equal(found.indices, again.indices)


def test_the_order_of_the_gallery_does_not_matter_where_all_ties_are_scored():
    queries, gallery = make(10, 16, 8, "q"), make(120, 16, 9, "g")
    order = np.random.default_rng(0).permutation(120)
    mixed = Embeddings(gallery.ids[order], gallery.vectors[order], {})
    search = build("binary(k=4, rescore=30)", SEARCHERS)
    one, two = search(queries, gallery), search(queries, mixed)
    np.testing.assert_array_equal(one.gallery_ids[one.indices], two.gallery_ids[two.indices])


def test_an_empty_gallery_gives_empty_lists():
    queries, gallery = make(3, 8, 0, "q"), make(0, 8, 0, "g")
    assert build("binary(k=4)", SEARCHERS)(queries, gallery).indices.shape == (3, 0)


def test_a_vector_that_is_not_finite_is_named():
    queries, gallery = make(3, 8, 0, "q"), make(5, 8, 0, "g")
    broken = gallery.vectors.copy()
    broken[2, 0] = np.nan
    with pytest.raises(DataError, match="g0002"):
        build("binary(k=4)", SEARCHERS)(queries, Embeddings(gallery.ids, broken, {}))


@pytest.mark.parametrize("wrong", ["k=0", "rescore=0", "metric='dot'", "seed=-1"])
def test_an_illegal_argument_is_refused(wrong):
    with pytest.raises(UsageError):
        build(f"binary({wrong})", SEARCHERS)


@pytest.mark.parametrize(
    ("call", "dim", "size"),
    [
        ("exact(k=5)", 100, 400),
        ("quantized(k=5, storage='int8')", 100, 112),
        ("quantized(k=5, storage='bfloat16')", 100, 212),
        ("binary(k=5)", 100, 16),
    ],
)
def test_a_searcher_tells_the_bytes_of_its_codes(call, dim, size):
    assert build(call, SEARCHERS).code_bytes(dim) == size


def test_codes_in_memory_are_as_large_as_told():
    search = build("binary(k=5)", SEARCHERS)
    search(make(2, 100, 0, "q"), make(50, 100, 0, "g"))
    assert search._last[1].words.nbytes == 50 * search.code_bytes(100)


def test_truncate_keeps_the_first_numbers():
    queries, gallery = make(3, 8, 0, "q"), make(5, 8, 1, "g")
    cut = build("truncate(dim=3)", ENHANCERS)(queries, gallery)
    for short, whole in zip(cut, (queries, gallery), strict=True):
        np.testing.assert_array_equal(short.vectors, whole.vectors[:, :3])
        assert list(short.ids) == list(whole.ids)
    with pytest.raises(UsageError, match="have 8 dimensions"):
        build("truncate(dim=9)", ENHANCERS)(queries, gallery)
