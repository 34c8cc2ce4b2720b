"""A gallery larger than memory: what a search holds at once is what its page says, however large
the gallery.
"""

import tracemalloc

import numpy as np
import pytest

from fastseek import search  # noqa: F401  (so that every searcher is registered)
from fastseek.knn import topk
from fastseek.knn.scan import Scan
from fastseek.registry import SEARCHERS, build
from fastseek.structures import Embeddings

DIM, BLOCK, QUERIES, K = 256, 2048, 40, 10
IMAGE = 150  # bytes for every gallery image: ids, their order, and the ranking's own check of them


@pytest.fixture(scope="module")
def galleries(tmp_path_factory):
    """Two galleries on disk, as shards of 3000 rows; one has four times the images of the other."""
    home, found = tmp_path_factory.mktemp("galleries"), {}
    for count in (10_000, 40_000):
        vectors = np.random.default_rng(count).standard_normal((count, DIM), np.float32)
        ids = np.char.add("g", np.arange(count).astype(str))
        Embeddings(ids, vectors).save(home / str(count), rows=3000)
        found[count] = Embeddings.load(home / str(count))
    return found


def peak(work):
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def queries():
    return Embeddings(
        [f"q{row}" for row in range(QUERIES)],
        np.random.default_rng(1).standard_normal((QUERIES, DIM), np.float32),
    )


@pytest.mark.parametrize(
    "call",
    [
        f"exact(k={K}, block={BLOCK}, scan='float32')",
        f"exact(k={K}, metric='l2', block={BLOCK}, scan='float32')",
    ],
)
def test_exact_search_holds_a_block_and_never_the_gallery(call, galleries, monkeypatch):
    """landmark row 40."""
    monkeypatch.setattr(Scan, "tile", (QUERIES, 1024))
    monkeypatch.setattr(topk, "PAIRS", 1 << 14)
    searcher = build(call, SEARCHERS)
    small, large = (
        peak(lambda gallery=gallery: searcher(queries(), gallery)) for gallery in galleries.values()
    )
    block, tile = 2 * BLOCK * DIM * 4, QUERIES * 1024 * 3 * 5
    assert large < block + tile + (1 << 14) * 100 + 40_000 * IMAGE
    assert large - small < 30_000 * IMAGE < 30_000 * DIM


def test_a_sharded_search_holds_one_run(galleries):
    searcher = build(
        f"sharded(\"exact(k={K}, block={BLOCK}, scan='float32')\", rows=5000)", SEARCHERS
    )
    small, large = (
        peak(lambda gallery=gallery: searcher(queries(), gallery)) for gallery in galleries.values()
    )
    assert large - small < 30_000 * 2 * IMAGE < 30_000 * DIM * 4
