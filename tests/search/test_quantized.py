"""Codes propose, vectors decide: less memory, the same answer."""

import gc
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastseek.errors import ArtefactError, DataError, UsageError
from fastseek.knn import blocked
from fastseek.knn.scan import Scan
from fastseek.registry import SEARCHERS, build
from fastseek.search import quantized
from fastseek.search.exact import Exact
from fastseek.search.quantized import Quantized
from fastseek.structures import Embeddings

STORED = ["bfloat16", "int8"]


def embeddings(vectors, prefix=""):
    return Embeddings(
        [f"{prefix}{row:05d}" for row in range(len(vectors))], np.asarray(vectors, np.float32)
    )


def pair(seed=0, queries=20, gallery=400, dim=24, spread=1.0):
    random = np.random.default_rng(seed)
    centres = random.normal(size=(7, dim))
    q, g = (
        centres[random.integers(0, 7, n)] + spread * random.normal(size=(n, dim))
        for n in (queries, gallery)
    )
    g[1::2] = g[::2][: len(g[1::2])]
    return embeddings(q, "q"), embeddings(g, "g")


def same(one, two):
    np.testing.assert_array_equal(one.indices, two.indices)
    np.testing.assert_array_equal(one.scores, two.scores)


@pytest.mark.parametrize("storage", STORED)
@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    k=st.integers(1, 50),
    metric=st.sampled_from(["cosine", "ip", "l2"]),
    spread=st.sampled_from([1e-5, 0.1, 1.0]),
)
def test_the_answer_is_the_exact_one_bit_by_bit(storage, seed, k, metric, spread):
    queries, gallery = pair(seed, spread=spread)
    ranking = Quantized(k=k, storage=storage, metric=metric)(queries, gallery)
    same(ranking, Exact(k=k, metric=metric, scan="float32")(queries, gallery))
    assert ranking.provenance["exact"] is True and "recall" not in ranking.provenance


@pytest.mark.parametrize("storage", STORED)
def test_scoring_only_the_best_by_code_tells_the_recall_it_has(storage):
    queries, gallery = pair(spread=0.01)
    ranking = Quantized(k=10, storage=storage, rescore=1, sample=15, seed=2)(queries, gallery)
    exact = Exact(k=10)(queries, gallery)
    chosen = np.random.default_rng(2).permutation(20)[:15]
    hits = sum(len(set(ranking.indices[row]) & set(exact.indices[row])) for row in chosen)
    assert ranking.provenance["recall"] == {
        "k": 10,
        "value": round(hits / 150, 6),
        "queries": 15,
        "seed": 2,
    }
    assert ranking.provenance["exact"] is False and hits < 150
    whole = Quantized(k=10, storage=storage, rescore=40)(queries, gallery)
    same(whole, exact)
    assert whole.provenance["recall"]["value"] == 1.0


def test_more_rescoring_never_finds_less():
    queries, gallery = pair(3, spread=0.02, dim=64)
    values = [
        Quantized(k=10, storage="int8", rescore=n)(queries, gallery).provenance["recall"]["value"]
        for n in (1, 2, 4, 8)
    ]
    assert values == sorted(values)


@pytest.mark.parametrize("storage", STORED)
def test_permuting_the_gallery_permutes_the_answer(storage):
    queries, gallery = pair(5)
    order = np.random.default_rng(1).permutation(len(gallery))
    turned = Embeddings(gallery.ids[order], gallery.vectors[order])
    one, two = (Quantized(k=15, storage=storage)(queries, side) for side in (gallery, turned))
    np.testing.assert_array_equal(one.gallery_ids[one.indices], two.gallery_ids[two.indices])
    np.testing.assert_array_equal(one.scores, two.scores)


@pytest.mark.parametrize("storage", STORED)
def test_tiles_change_nothing(storage, monkeypatch):
    queries, gallery = pair(6)
    whole = Quantized(k=15, storage=storage)(queries, gallery)
    monkeypatch.setattr(Scan, "tile", (7, 33))
    same(Quantized(k=15, storage=storage)(queries, gallery), whole)


def test_a_gallery_on_disk_is_read_in_small_pieces_only(tmp_path):
    class Watched:
        """An array that tells the largest piece anyone asked for."""

        def __init__(self, vectors):
            self.vectors, self.shape, self.dtype, self.largest = (
                vectors,
                vectors.shape,
                vectors.dtype,
                0,
            )

        def __len__(self):
            return len(self.vectors)

        def __getitem__(self, rows):
            piece = self.vectors[rows]
            self.largest = max(self.largest, len(piece))
            return piece

    queries, gallery = pair(4, gallery=5000)
    watched = Watched(gallery.vectors)
    Quantized(k=3)(queries, Embeddings(gallery.ids, watched))
    assert watched.largest <= blocked.CHUNK_ROWS


def test_the_codes_are_made_once_for_a_gallery_and_anew_for_another(monkeypatch):
    made, encoded = [], quantized.encode_gallery

    def counted(what, *rest):
        made.append(what)
        return encoded(what, *rest)

    monkeypatch.setattr(quantized, "encode_gallery", counted)
    queries, gallery = pair(7)
    searcher, other = Quantized(k=3), embeddings(gallery.vectors[::-1], "g")
    first = searcher(queries, gallery)
    same(searcher(queries, gallery), first)
    assert sum(what is gallery for what in made) == 1
    found = searcher(queries, other)
    assert sum(what is other for what in made) == 1
    same(found, Exact(k=3)(queries, other))


@pytest.mark.parametrize("storage, size", [("bfloat16", 2), ("int8", 1)])
def test_the_vectors_may_lie_on_disk_and_the_codes_take_what_is_said(storage, size, tmp_path):
    queries, gallery = pair(8, gallery=3000, dim=64)
    gallery.save(tmp_path / "g", rows=700)
    there = Embeddings.load(tmp_path / "g")
    searcher = Quantized(k=9, storage=storage)
    same(searcher(queries, there), Exact(k=9)(queries, gallery))
    codes = searcher._codes.codes
    assert codes.held.element_size() * codes.held.numel() == 3000 * 64 * size
    assert sum(column.nbytes for column in codes[1:]) == 3000 * 12


def test_a_search_in_kept_codes_holds_no_copy_of_the_gallery():
    queries, gallery = pair(9, queries=8, gallery=20000, dim=128)
    searcher = Quantized(k=5, storage="int8")
    searcher(queries, gallery)
    gc.collect()
    tracemalloc.start()
    searcher(queries, gallery)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < gallery.vectors.nbytes / 4


def test_empty_sides_and_short_galleries_give_what_there_is():
    some, none = embeddings(np.ones((3, 4))), embeddings(np.empty((0, 4)))
    assert Quantized(k=5)(some, none).indices.shape == (3, 0)
    assert Quantized(k=5)(none, some).indices.shape == (0, 3)
    assert Quantized(k=5, rescore=2)(none, none).provenance["recall"]["value"] is None


def test_what_does_not_fit_is_refused():
    with pytest.raises(ArtefactError, match="4 dimensions.*3"):
        Quantized()(embeddings(np.ones((2, 4))), embeddings(np.ones((2, 3))))
    bad = np.ones((4, 3))
    bad[2] = np.nan
    with pytest.raises(DataError, match="'00002' is not finite"):
        Quantized()(embeddings(np.ones((1, 3))), embeddings(bad))


@pytest.mark.parametrize(
    "call",
    [
        "quantized(k=0)",
        "quantized(storage='int4')",
        "quantized(rescore=-1)",
        "quantized(metric='x')",
        "quantized(sample=0)",
    ],
)
def test_impossible_settings_are_refused(call):
    with pytest.raises(UsageError):
        build(call, SEARCHERS)
