"""Precision, threads, tiles and spans decide how long a search takes, never what it finds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastseek.errors import DataError
from fastseek.knn import nearest as kernel
from fastseek.knn import scan as scans
from fastseek.knn import topk
from fastseek.knn.nearest import encode_gallery, nearest, nearest_coded
from fastseek.knn.scan.bfloat16 import Bfloat16
from fastseek.knn.scan.cuda import Cuda
from fastseek.knn.scan.distance import Distance
from fastseek.structures import Embeddings

SCANS = ["float32", "bfloat16", "int8"]
METRICS = ["cosine", "ip", "l2"]


def embeddings(vectors):
    return Embeddings(
        [f"{row:05d}" for row in range(len(vectors))], np.asarray(vectors, np.float32)
    )


def pair(seed, queries=40, gallery=700, dim=24, spread=1.0, twins=3):
    """Clustered vectors, every one of the gallery `twins` times: ties everywhere."""
    random = np.random.default_rng(seed)
    centres = random.normal(size=(9, dim))
    q, g = (
        centres[random.integers(0, 9, n)] + spread * random.normal(size=(n, dim))
        for n in (queries, -(-gallery // twins))
    )
    return embeddings(q), embeddings(np.repeat(g, twins, axis=0)[random.permutation(gallery)])


def same(one, two):
    np.testing.assert_array_equal(one.rows, two.rows)
    np.testing.assert_array_equal(one.scores, two.scores)
    np.testing.assert_array_equal(one.lowest, two.lowest)


def by_sorting(queries, gallery, k, metric):
    """All scores in float64, one full sort."""
    q, g = (np.asarray(side.vectors, np.float64) for side in (queries, gallery))
    scores = -((q[:, None] - g) ** 2).sum(axis=2) if metric == "l2" else q @ g.T
    scores = scores.astype(np.float32)
    rows = np.stack([np.lexsort((np.arange(len(g)), -row)) for row in scores])[:, :k]
    return rows, np.take_along_axis(scores, rows, axis=1), scores.min(axis=1)


@pytest.mark.parametrize("scan", SCANS)
@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    k=st.integers(1, 60),
    metric=st.sampled_from(["ip", "l2"]),
    tile=st.sampled_from([64, 333, 8192]),
    span=st.sampled_from([100, 1000]),
)
def test_every_scan_finds_what_a_full_sort_finds(scan, seed, k, metric, tile, span):
    random = np.random.default_rng(seed)
    queries, gallery = (embeddings(random.integers(-2, 3, (rows, 20))) for rows in (11, 400))
    usual, scans.Scan.tile = scans.Scan.tile, (512, tile)
    try:
        found = nearest(queries, gallery, k, metric, span, scan)
    finally:
        scans.Scan.tile = usual
    rows, scores, lowest = by_sorting(queries, gallery, k, metric)
    np.testing.assert_array_equal(found.rows, rows)
    np.testing.assert_array_equal(found.scores, scores)
    np.testing.assert_array_equal(found.lowest, lowest)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("scan", ["bfloat16", "int8"])
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10_000), spread=st.sampled_from([1e-6, 0.01, 1.0]))
def test_the_precision_of_the_scan_changes_not_a_bit(scan, metric, seed, spread):
    queries, gallery = pair(seed, spread=spread)
    exact = nearest(queries, gallery, 17, metric, scan="float32")
    same(nearest(queries, gallery, 17, metric, scan=scan), exact)
    assert nearest(queries, gallery, 17, metric, scan=scan).scan == scan


@pytest.mark.parametrize("scan", SCANS)
def test_vectors_of_all_lengths_are_found_by_every_scan(scan):
    random = np.random.default_rng(5)
    g = random.normal(size=(900, 16)) * 10.0 ** random.integers(-25, 9, (900, 1))
    queries, gallery = embeddings(g[:30] * 3), embeddings(g)
    for metric in METRICS:
        same(
            nearest(queries, gallery, 12, metric, scan=scan),
            nearest(queries, gallery, 12, metric, scan="float32"),
        )


@pytest.mark.parametrize("scan", ["float32", "bfloat16", "int8"])
def test_threads_change_nothing(scan, monkeypatch):
    queries, gallery = pair(1, queries=300)
    one = nearest(queries, gallery, 9, scan=scan, gallery_rows=250)
    monkeypatch.setattr(kernel, "workers", lambda: 3)
    same(nearest(queries, gallery, 9, scan=scan, gallery_rows=250), one)


@pytest.mark.parametrize("scan", ["float32", "int8"])
def test_a_gallery_coded_before_gives_the_same_answer(scan):
    queries, gallery = pair(2)
    coded = encode_gallery(gallery, "cosine", scan)
    same(
        nearest_coded(queries, coded, 20, lowest=True),
        nearest(queries, gallery, 20, scan="float32"),
    )


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("spread", [1e-6, 1.0])
def test_the_code_for_gpus_finds_the_same_here(metric, spread, monkeypatch):
    import torch

    part = Cuda("cpu")
    part.tile = 16, 300
    monkeypatch.setattr(kernel, "choose", lambda *_: Distance(part) if metric == "l2" else part)
    queries, gallery = pair(6, spread=spread)
    before = torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction
    found = nearest(queries, gallery, 17, metric)
    assert found.scan == "cuda"
    assert torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction == before
    monkeypatch.undo()
    same(found, nearest(queries, gallery, 17, metric, scan="float32"))


def test_many_ties_are_settled_in_bounded_pieces(monkeypatch):
    monkeypatch.setattr(topk, "PAIRS", 500)
    settled = []
    whole = topk.TopK.settle

    def watched(self):
        settled.append(self.count)
        return whole(self)

    monkeypatch.setattr(topk.TopK, "settle", watched)
    monkeypatch.setattr(scans.Scan, "tile", (512, 50))
    gallery = embeddings(np.ones((400, 8)))
    found = nearest(embeddings(np.ones((10, 8))), gallery, 5)
    assert found.rows.tolist() == [[0, 1, 2, 3, 4]] * 10
    assert len(settled) > 3 and max(settled) <= 500 + 10 * 50


def test_a_scan_that_breaks_its_promise_is_found_out_and_replaced(monkeypatch, caplog):
    queries, gallery = pair(3)
    right = nearest(queries, gallery, 9, scan="float32")
    product = Bfloat16.product
    monkeypatch.setattr(
        Bfloat16, "product", lambda self, q, g, work: product(self, q, g, work).mul_(1.25)
    )
    found = nearest(queries, gallery, 9, scan="bfloat16")
    same(found, right)
    assert found.scan == "float32" and "less exact" in caplog.text


def test_the_lowest_is_left_out_when_nobody_asks():
    queries, gallery = pair(4)
    assert np.isinf(nearest(queries, gallery, 3, lowest=False).lowest).all()


@pytest.mark.parametrize("metric", ["ip", "l2"])
def test_a_vector_too_long_to_score_is_named(metric):
    vectors = np.ones((5, 3))
    vectors[3] = 1e19
    with pytest.raises(DataError, match="'00003' is so long"):
        nearest(embeddings(np.ones((1, 3))), embeddings(vectors), 2, metric)
