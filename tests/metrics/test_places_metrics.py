"""mMP@k, NDCG and the N-S score equal their definitions, read off place by place."""

import math

import numpy as np
import pytest

from fastseek.errors import ArtefactError
from fastseek.metrics import evaluate
from fastseek.structures import GroundTruth, Ranking
from fastseek.structures.ground_truth import LabeledSide


def case(seed, queries=8, gallery=20):
    """Rankings over queries that have 0 to 7 right images, and junk."""
    random = np.random.default_rng(seed)
    order = np.array([random.permutation(gallery) for _ in range(queries)])
    kinds = random.integers(0, 4, (queries, gallery))  # 1 is right, 2 is junk
    kinds[0] = 0
    kinds[1, :] = 1
    lists = [[np.flatnonzero(row == kind) for row in kinds] for kind in (1, 2)]
    sides = [
        LabeledSide([f"{letter}{row:02d}" for row in range(count)], [""] * count)
        for letter, count in (("q", queries), ("g", gallery))
    ]
    truth = GroundTruth.from_lists(*sides, *lists)
    scores = np.tile(np.arange(gallery, 0, -1, dtype=np.float32), (queries, 1))
    marks = [
        [kinds[row, image] == 1 for image in order[row] if kinds[row, image] != 2]
        for row in range(queries)
    ]
    return Ranking(truth.query_ids, truth.gallery_ids, order, scores), truth, marks


def slow_mmp(marks, k):
    most = min(sum(marks), k)
    return sum(marks[place] for place in range(most)) / most


def slow_ndcg(marks, k):
    gain = sum(1 / math.log2(1 + place) for place, right in enumerate(marks[:k], 1) if right)
    best = sorted(marks, reverse=True)[:k]
    return gain / sum(1 / math.log2(1 + place) for place, right in enumerate(best, 1) if right)


def slow_ap(marks, k):
    found = [
        sum(marks[:place]) / place for place in range(1, len(marks[:k]) + 1) if marks[place - 1]
    ]
    return sum(found) / min(sum(marks), k)


TWINS = {
    "mmp(5)": lambda marks: slow_mmp(marks, 5),
    "mmp(1)": lambda marks: slow_mmp(marks, 1),
    "ndcg(6)": lambda marks: slow_ndcg(marks, 6),
    "ndcg": lambda marks: slow_ndcg(marks, None),
    "map(6)": lambda marks: slow_ap(marks, 6),
    "n_s": lambda marks: float(sum(marks[:4])),
}


@pytest.mark.parametrize("seed", range(20))
def test_every_query_has_the_value_of_the_definition(seed):
    ranking, truth, marks = case(seed)
    calls = ["mmp(5)", "mmp(1)", "ndcg(6)", "ndcg()", "map(6)", "n_s()"]
    for score in evaluate(ranking, truth, calls):
        wanted = [TWINS[score.name](row) if any(row) else math.nan for row in marks]
        np.testing.assert_allclose(score.per_query, wanted, rtol=0, atol=1e-12, err_msg=score.name)
        assert abs(score.value - np.nanmean(wanted)) < 1e-12


def test_lists_that_are_too_short_are_refused():
    ranking, truth, _ = case(0)
    short = Ranking(
        ranking.query_ids, ranking.gallery_ids, ranking.indices[:, :3], ranking.scores[:, :3]
    )
    for call in ("mmp(5)", "ndcg(6)", "ndcg()", "n_s()"):
        with pytest.raises(ArtefactError, match="search with k="):
            evaluate(short, truth, [call])
