import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastseek.errors import ArtefactError, DataError, UsageError
from fastseek.metrics import evaluate
from fastseek.metrics.gap import Gap
from fastseek.metrics.map import Map
from fastseek.metrics.minp import Minp
from fastseek.metrics.recall import Recall
from fastseek.registry import METRICS, build
from fastseek.structures import GroundTruth, Ranking

CALLS = ["map(3)", "map(100)", "map()", "recall(1, 5)", "cmc(1, 10)", "minp()", "gap()"]


def ranked(scores, truth, depth=None):
    order = np.lexsort((np.broadcast_to(truth.gallery_ids, scores.shape), -scores))[:, :depth]
    return Ranking(
        truth.query_ids, truth.gallery_ids, order, np.take_along_axis(scores, order, axis=1)
    )


def case(seed, queries=7, gallery=25, classes=5):
    """Labels with some unanswerable queries and some images without label, and scores with ties."""
    random = np.random.default_rng(seed)
    q_labels = random.integers(0, classes + 1, queries).astype(str)
    g_labels = np.where(
        random.random(gallery) < 0.1, "", random.integers(0, classes, gallery).astype(str)
    )
    q_labels[0], g_labels[0] = "0", "0"
    truth = GroundTruth.from_labels(
        [f"q{n}" for n in range(queries)],
        q_labels,
        [f"g{n:02d}" for n in range(gallery)],
        g_labels,
        random.integers(0, 3, queries).astype(str),
        random.integers(0, 9, gallery).astype(str),
    )
    scores = random.integers(0, 9, (queries, gallery)).astype(np.float32)
    if not len(truth.relevant_to(0)):
        return case(seed + 100_000, queries, gallery, classes)
    return scores, truth


def values(ranking, truth, calls=CALLS):
    return {score.name: score.value for score in evaluate(ranking, truth, calls)}


def slow_ap(marks, relevant, k):
    """marks: 1 right, 0 wrong, in order, junk removed.

    The sum as it is written in the definition.
    """
    right, total = 0, 0.0
    for place, mark in enumerate(marks[:k], 1):
        right += mark
        total += mark * right / place
    return total / min(relevant, k)


def slow_marks(ranking, truth, query):
    return [
        int(item in truth.relevant_to(query))
        for item in ranking.indices[query]
        if item >= 0 and item not in truth.junk_of(query)
    ]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([1, 3, 10, 25]))
def test_map_and_recall_are_their_definitions(seed, k):
    """landmark row 53."""
    scores, truth = case(seed)
    ranking = ranked(scores, truth)
    aps, recalls = [], []
    for query in range(len(truth.query_ids)):
        if len(truth.relevant_to(query)):
            marks = slow_marks(ranking, truth, query)
            aps.append(slow_ap(marks, len(truth.relevant_to(query)), k))
            recalls.append(any(marks[:k]))
    found = values(ranking, truth, [f"map({k})", f"recall({k})", f"cmc({k})"])
    assert found[f"map({k})"] == pytest.approx(np.mean(aps), abs=1e-12)
    assert found[f"recall({k})"] == found[f"cmc({k})"] == pytest.approx(np.mean(recalls), abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000))
def test_gap_is_its_definition(seed):
    """landmark row 52."""
    scores, truth = case(seed)
    ranking = ranked(scores, truth)
    predictions = []
    for query, row in enumerate(ranking.indices):
        place = next(n for n, item in enumerate(row) if item not in truth.junk_of(query))
        label = truth.gallery_labels[row[place]]
        if label:
            answer = truth.query_labels[query] if len(truth.relevant_to(query)) else None
            predictions.append(
                (-ranking.scores[query, place], truth.query_ids[query], label == answer)
            )
    right, total = 0, 0.0
    for rank, (_, _, correct) in enumerate(sorted(predictions), 1):
        right += correct
        total += correct * right / rank
    answerable = sum(len(truth.relevant_to(query)) > 0 for query in range(len(truth.query_ids)))
    assert Gap()(ranking, truth)[0].value == pytest.approx(total / answerable, abs=1e-12)


def test_gap_by_hand_with_a_query_without_answer_between_the_right_ones():
    """landmark row 52."""
    truth = GroundTruth.from_labels(["1", "2", "3"], ["a", "", "b"], ["x", "y"], ["a", "b"])
    ranking = Ranking(
        ["1", "2", "3"], ["x", "y"], [[0, 1], [1, 0], [1, 0]], [[0.9, 0], [0.8, 0], [0.7, 0]]
    )
    score = Gap()(ranking, truth)[0]
    assert score.value == pytest.approx((1 / 1 + 2 / 3) / 2)
    assert score.per_query is None and score.protocol["without_answer"] == 1


def test_gap_settles_equal_scores_by_query_id():
    """landmark row 52."""
    truth = GroundTruth.from_labels(["b", "a"], ["right", "none"], ["x", "y"], ["right", "other"])
    ranking = Ranking(["b", "a"], ["x", "y"], [[0], [1]], [[0.5], [0.5]])
    assert Gap()(ranking, truth)[0].value == pytest.approx(0.5)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_a_monotone_change_of_scores_moves_no_metric(seed):
    scores, truth = case(seed)
    assert values(ranked(scores, truth), truth) == values(ranked(np.exp(scores / 3), truth), truth)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_permuted_queries_and_gallery_are_matched_by_id(seed):
    scores, truth = case(seed)
    random = np.random.default_rng(seed)
    rows, cols = (
        random.permutation(len(truth.query_ids)),
        random.permutation(len(truth.gallery_ids)),
    )
    ranking = ranked(scores, truth)
    back = np.argsort(cols)
    turned = Ranking(
        truth.query_ids[rows],
        truth.gallery_ids[cols],
        back[ranking.indices[rows]],
        ranking.scores[rows],
    )
    assert values(turned, truth) == pytest.approx(values(ranking, truth), abs=1e-12)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.floats(-1, 10))
def test_adding_an_irrelevant_image_never_raises_average_precision(seed, score):
    scores, truth = case(seed)
    more = GroundTruth(
        truth.query_ids,
        [*truth.gallery_ids, "zz"],
        truth.relevant_starts,
        truth.relevant,
        truth.junk_starts,
        truth.junk,
        truth.query_labels,
        [*truth.gallery_labels, "other"],
    )
    wider = np.concatenate([scores, np.full((len(scores), 1), score, np.float32)], axis=1)
    for k in (2, 10, None):
        less = Map(k)(ranked(scores, truth), truth)[0].per_query
        after = Map(k)(ranked(wider, more), more)[0].per_query
        counted = ~np.isnan(less)
        assert (after[counted] <= less[counted] + 1e-12).all()


def test_a_perfect_ranking_scores_one():
    truth = GroundTruth.from_labels(list("pq"), list("ab"), list("vwxyz"), list("aabbb"))
    scores = np.array([[5, 4, 3, 2, 1], [0, 1, 9, 8, 7]], np.float32)
    assert all(value == 1 for value in values(ranked(scores, truth), truth).values())


def test_map_at_k_divides_by_k_when_there_are_more_relevant_images():
    truth = GroundTruth.from_labels(["q"], ["a"], list("vwxyz"), list("aaaab"))
    assert Map(2)(ranked(np.array([[9, 1, 1, 1, 5]], np.float32), truth), truth)[
        0
    ].value == pytest.approx(0.5)


def test_queries_without_answer_are_left_out_and_counted():
    truth = GroundTruth.from_labels(["p", "q"], ["a", "none"], ["x", "y"], ["a", "b"])
    score = Recall(1)(ranked(np.array([[2, 1], [2, 1]], np.float32), truth), truth)[0]
    assert score.value == 1 and np.isnan(score.per_query[1])
    assert (score.protocol["counted"], score.protocol["skipped"]) == (1, 1)


def test_every_score_tells_its_protocol():
    scores, truth = case(1)
    for score in evaluate(ranked(scores, truth), truth, CALLS):
        assert {"relevant", "camera_rule", "self_match", "counted", "ties"} <= set(score.protocol)


def test_every_metric_stands_to_its_contract():
    scores, truth = case(1)
    for name in METRICS.names():
        part = build(
            f"{name}(1)" if name in ("recall", "cmc", "precision") else f"{name}()", METRICS
        )
        for score in part(ranked(scores, truth), truth):
            assert score.name.startswith(name)
            assert 0 <= score.value <= (101 if name == "position" else 1)


def test_scores_come_in_the_order_of_the_calls():
    scores, truth = case(1)
    calls = ["gap()", "recall(5, 1)", "map(100)", "map"]
    assert list(values(ranked(scores, truth), truth, calls)) == [
        "gap",
        "recall(5)",
        "recall(1)",
        "map(100)",
        "map",
    ]


def test_no_relevant_image_anywhere_is_told():
    truth = GroundTruth.from_labels(["q"], ["a"], ["x"], ["b"])
    for call in ("map(100)", "gap()", "recall(1)"):
        with pytest.raises(DataError, match="none of the 1 queries"):
            evaluate(ranked(np.ones((1, 1), np.float32), truth), truth, [call])


def test_lists_too_short_for_a_figure_are_refused_with_the_depth():
    scores, truth = case(1)
    shallow = ranked(scores, truth, depth=5)
    assert "recall(5)" in values(shallow, truth, ["recall(5)"])
    for call in ("recall(10)", "cmc(25)"):
        with pytest.raises(ArtefactError, match="has 5.*k="):
            evaluate(shallow, truth, [call])


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(1, 25))
def test_a_figure_of_the_first_k_is_that_of_whole_lists_or_refused_where_junk_takes_the_places(
    seed, k, depth
):
    scores, truth = case(seed)
    whole, cut = ranked(scores, truth), ranked(scores, truth, depth=depth)
    for call in (
        f"recall({k})",
        f"cmc({k})",
        f"precision({k})",
        f"position({k})",
        f"digix(k={k})",
        f"map({k})",
        f"revisited({k})",
        "top1",
    ):
        wanted = values(whole, truth, [call])
        try:
            found = values(cut, truth, [call])
        except ArtefactError as error:
            deeper = int(re.search(r"search with k=(\d+)", str(error))[1])
            assert deeper > depth
        else:
            for name in wanted.keys() - {"revisited_map"}:
                assert found[name] == wanted[name] or call == f"map({k})" and depth < k


def test_the_depth_that_junk_asks_for_is_enough():
    """Leave one out: the query itself is junk in its own list."""
    ids = [f"i{n:02d}" for n in range(40)]
    truth = GroundTruth.from_labels(
        ids, [str(n % 4) for n in range(40)], ids, [str(n % 4) for n in range(40)]
    )
    vectors = np.random.default_rng(3).normal(size=(40, 8)).astype(np.float32)
    ranking = ranked(vectors @ vectors.T, truth)
    for call in ("recall(5)", "precision(5)", "map(5)"):
        with pytest.raises(ArtefactError, match="of which up to 1 are junk.*search with k=6"):
            evaluate(ranked(vectors @ vectors.T, truth, depth=5), truth, [call])
        assert values(ranked(vectors @ vectors.T, truth, depth=6), truth, [call]) == values(
            ranking, truth, [call]
        )
    with pytest.raises(ArtefactError, match="gap needs the best image that is no junk"):
        evaluate(ranked(vectors @ vectors.T, truth, depth=1), truth, ["gap()"])


def test_average_precision_of_a_short_list_counts_what_is_in_it():
    """landmark.md 7.3: the sum runs to min(n, k), the divisor stays."""
    scores, truth = case(1)
    whole, short = ranked(scores, truth), ranked(scores, truth, depth=5)
    assert (
        values(short, truth, ["map(100)"])["map(100)"]
        <= values(whole, truth, ["map(100)"])["map(100)"]
    )
    assert values(short, truth, ["map(5)"]) == values(whole, truth, ["map(5)"])


def test_a_gallery_smaller_than_k_is_no_short_list():
    scores, truth = case(1, gallery=6)
    assert "recall(10)" in values(ranked(scores, truth), truth, ["recall(10)", "map(100)"])


def test_minp_wants_every_relevant_image():
    scores, truth = case(1)
    with pytest.raises(ArtefactError, match="k=25"):
        Minp()(ranked(scores, truth, depth=3), truth)


@pytest.mark.parametrize("side", ["query", "gallery"])
def test_a_ranking_of_other_images_is_refused_and_the_first_is_named(side):
    scores, truth = case(1)
    ids = {"query": truth.query_ids.copy(), "gallery": truth.gallery_ids.copy()}
    ids[side][2] = "new"
    ranking = ranked(scores, truth)
    with pytest.raises(ArtefactError, match="ranking lacks 1 of .*(q2|g02)"):
        evaluate(
            Ranking(ids["query"], ids["gallery"], ranking.indices, ranking.scores), truth, ["map()"]
        )


def test_a_ranking_of_part_of_the_gallery_is_refused():
    scores, truth = case(1)
    part = Ranking(truth.query_ids, truth.gallery_ids[:9], *[np.zeros((7, 0))] * 2)
    with pytest.raises(ArtefactError, match="lacks 16 of 25.*g09"):
        evaluate(part, truth, ["map()"])


@pytest.mark.parametrize(
    "call", ["map(0)", "map(2.5)", "recall()", "recall(0)", "cmc('1')", "gap(3)", "mapp(3)"]
)
def test_impossible_calls_are_refused(call):
    scores, truth = case(1)
    with pytest.raises(UsageError):
        evaluate(ranked(scores, truth), truth, [call])


def test_no_metric_at_all_is_refused():
    scores, truth = case(1)
    with pytest.raises(UsageError, match="map"):
        evaluate(ranked(scores, truth), truth, [])
