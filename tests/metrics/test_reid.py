"""fast-reid's own CPU code is the slow twin."""

import numpy as np
import pytest

from fastseek import compat  # noqa: F401  (before anything that imports fastreid)
from fastseek.errors import DataError
from fastseek.metrics import evaluate, market, market_from_embeddings
from fastseek.structures import Embeddings, GroundTruth, Ranking

rank = pytest.importorskip("fastreid.evaluation.rank")


def case(seed, queries=40, gallery=200, people=15, cameras=4):
    random = np.random.default_rng(seed)
    columns = [
        random.integers(0, n, size) for size in (queries, gallery) for n in (people, cameras)
    ]
    distances = random.random((queries, gallery)).astype(np.float32)
    return distances, columns


def truth_of(columns):
    q_pids, q_cams, g_pids, g_cams = (column.astype(str) for column in columns)
    ids = [
        [f"{side}{n:04d}" for n in range(len(column))]
        for side, column in (("q", q_pids), ("g", g_pids))
    ]
    return GroundTruth.from_labels(ids[0], q_pids, ids[1], g_pids, q_cams, g_cams)


def theirs(distances, columns):
    q_pids, q_cams, g_pids, g_cams = columns
    return rank.evaluate_rank(distances, q_pids, g_pids, q_cams, g_cams, use_cython=False)


@pytest.mark.parametrize("seed", range(6))
def test_market_gives_fastreids_figures(seed):
    """finegrained row 19: photos of the query's camera are no hits."""
    distances, columns = case(seed)
    cmc, aps, inps = theirs(distances, columns)
    ours = market(-distances, truth_of(columns))
    assert list(ours) == ["Rank-1", "Rank-5", "Rank-10", "mAP", "mINP", "metric"]
    assert [ours[f"Rank-{k}"] for k in (1, 5, 10)] == pytest.approx(
        [100 * cmc[k - 1] for k in (1, 5, 10)], abs=1e-4
    )
    assert ours["mAP"] == pytest.approx(100 * np.mean(aps), abs=1e-9)
    assert ours["mINP"] == pytest.approx(100 * np.mean(inps), abs=1e-9)
    assert ours["metric"] == pytest.approx((ours["mAP"] + ours["Rank-1"]) / 2)


@pytest.mark.parametrize("seed", range(6))
def test_metrics_of_a_full_ranking_give_fastreids_figures(seed):
    """finegrained row 19."""
    distances, columns = case(seed, queries=20, gallery=60)
    cmc, aps, inps = theirs(distances, columns)
    truth = truth_of(columns)
    order = np.argsort(distances, axis=1)
    ranking = Ranking(
        truth.query_ids, truth.gallery_ids, order, -np.take_along_axis(distances, order, axis=1)
    )
    scores = {
        score.name: score
        for score in evaluate(ranking, truth, ["map()", "minp()", "cmc(1, 5, 50)"])
    }
    for name, per_query in (("map", aps), ("minp", inps)):
        ours = scores[name].per_query
        np.testing.assert_allclose(ours[~np.isnan(ours)], per_query, rtol=0, atol=1e-9)
    for k in (1, 5, 50):
        assert scores[f"cmc({k})"].value == pytest.approx(cmc[k - 1], abs=1e-6)


def test_embeddings_give_the_figures_of_their_matrix():
    _, columns = case(3)
    truth = truth_of(columns)
    random = np.random.default_rng(3)
    q, g = (
        random.normal(size=(40, 16)).astype(np.float32),
        random.normal(size=(200, 16)).astype(np.float32),
    )
    cosine = (q / np.linalg.norm(q, axis=1)[:, None]) @ (g / np.linalg.norm(g, axis=1)[:, None]).T
    pair = Embeddings(truth.query_ids, q), Embeddings(truth.gallery_ids, g)
    assert market_from_embeddings(*pair, truth) == pytest.approx(market(cosine, truth), abs=1e-9)
    distances = ((q[:, None].astype(np.float64) - g[None]) ** 2).sum(axis=2)
    assert market_from_embeddings(*pair, truth, metric="l2") == pytest.approx(
        market(-distances, truth), abs=1e-9
    )


def test_a_gallery_of_fewer_than_ten_is_scored():
    truth = GroundTruth.from_labels(["q"], ["a"], ["x", "y", "z"], ["b", "a", "b"])
    ours = market(np.array([[3.0, 2.0, 1.0]]), truth)
    assert ours == {"Rank-1": 0, "Rank-5": 100, "Rank-10": 100, "mAP": 50, "mINP": 50, "metric": 25}


def test_nothing_to_score_is_told():
    truth = GroundTruth.from_labels(["q"], ["a"], ["x"], ["b"])
    with pytest.raises(DataError, match="relevant"):
        market(np.ones((1, 1)), truth)
