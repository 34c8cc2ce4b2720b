import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastseek.errors import ArtefactError, DataError
from fastseek.metrics import _relevance_ranks as module
from fastseek.metrics._relevance_ranks import from_embeddings, from_ranking, from_scores
from fastseek.search.exact import Exact
from fastseek.structures import Embeddings, GroundTruth, Ranking


def truth_of(seed, queries=6, gallery=30, classes=4, cameras=3):
    random = np.random.default_rng(seed)
    ids = [f"g{number:02d}" for number in random.permutation(gallery)]
    columns = [
        random.integers(0, n, size).astype(str)
        for size in (queries, gallery)
        for n in (classes, cameras)
    ]
    q_labels, q_groups, g_labels, g_groups = columns
    return GroundTruth.from_labels(
        [f"q{n}" for n in range(queries)], q_labels, ids, g_labels, q_groups, g_groups
    )


def full_ranking(scores, truth):
    """The whole gallery for every query, by (score, id), the obvious way."""
    indices = [
        sorted(range(scores.shape[1]), key=lambda g: (-row[g], truth.gallery_ids[g]))
        for row in scores
    ]
    indices = np.array(indices, np.int64).reshape(scores.shape)
    return Ranking(
        truth.query_ids, truth.gallery_ids, indices, np.take_along_axis(scores, indices, axis=1)
    )


def slow_places(ranking, truth):
    """Walk down every list; count what is no junk."""
    places = []
    for query, row in enumerate(ranking.indices):
        place, mine = 0, []
        for item in row:
            if item < 0 or item in truth.junk_of(query):
                continue
            place += 1
            if item in truth.relevant_to(query):
                mine.append(place)
        places.append(mine)
    return places


def by_query(hits):
    return [
        hits.places[a:b].tolist() for a, b in zip(hits.starts[:-1], hits.starts[1:], strict=True)
    ]


def tied_scores(seed, truth, values=6):
    shape = len(truth.query_ids), len(truth.gallery_ids)
    return np.random.default_rng(seed).integers(0, values, shape).astype(np.float32)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000))
def test_places_are_those_of_a_walk_down_the_list(seed):
    truth = truth_of(seed)
    ranking = full_ranking(tied_scores(seed, truth), truth)
    assert by_query(from_ranking(ranking, truth)) == slow_places(ranking, truth)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0, 4, 100]), st.sampled_from([6, 60, 10**6]))
def test_counting_gives_the_places_of_sorting_also_among_ties(seed, few, values):
    truth = truth_of(seed)
    scores = tied_scores(seed, truth, values)
    expected = from_ranking(full_ranking(scores, truth), truth)
    usual, module.FEW = module.FEW, few
    try:
        counted = from_scores(scores, truth)
    finally:
        module.FEW = usual
    assert by_query(counted) == by_query(expected)
    np.testing.assert_array_equal(counted.relevant, expected.relevant)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("large", [1e20, 3e38])
def test_scores_whose_squares_overflow_are_scores_like_any_other(large):
    truth = truth_of(5)
    scores = tied_scores(5, truth) - 3
    assert by_query(from_scores(scores * np.float32(large / 3), truth)) == by_query(
        from_scores(scores, truth)
    )


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_not_finite_is_refused_with_its_query(bad):
    truth = truth_of(5)
    scores = tied_scores(5, truth)
    scores[3, 7] = bad
    with pytest.raises(DataError, match="'q3'"):
        from_scores(scores, truth)


@pytest.mark.parametrize("metric", ["cosine", "ip", "l2"])
def test_embeddings_give_the_places_of_the_exact_search(metric):
    truth = truth_of(3, queries=12, gallery=90)
    random = np.random.default_rng(3)
    vectors = random.normal(size=(30, 5)).astype(np.float32)
    queries = Embeddings(truth.query_ids, random.normal(size=(12, 5)).astype(np.float32))
    gallery = Embeddings(truth.gallery_ids, vectors[random.integers(0, 30, 90)])
    expected = from_ranking(Exact(k=90, metric=metric)(queries, gallery), truth)
    assert by_query(from_embeddings(queries, gallery, truth, metric)) == by_query(expected)


def test_when_all_embeddings_are_equal_the_order_of_the_gallery_does_not_matter():
    truth = truth_of(5, gallery=70)
    order = np.random.default_rng(5).permutation(70)
    groups = np.random.default_rng(6).integers(0, 4, 70).astype(str)
    one = GroundTruth.from_labels(truth.query_ids, truth.query_labels, truth.gallery_ids, groups)
    two = GroundTruth.from_labels(
        truth.query_ids, truth.query_labels, truth.gallery_ids[order], groups[order]
    )
    vector = np.random.default_rng(7).normal(size=(1, 129)).astype(np.float32)
    places = [
        by_query(
            from_embeddings(
                Embeddings(side.query_ids, vector.repeat(6, 0)),
                Embeddings(side.gallery_ids, vector.repeat(70, 0)),
                side,
            )
        )
        for side in (one, two)
    ]
    assert places[0] == places[1]


def test_blocks_change_nothing(monkeypatch):
    truth = truth_of(8, queries=20)
    ranking = full_ranking(tied_scores(8, truth), truth)
    whole = by_query(from_ranking(ranking, truth))
    monkeypatch.setattr(module, "CELLS", 70)
    assert by_query(from_ranking(ranking, truth)) == whole


def test_empty_places_hold_nothing():
    truth = GroundTruth.from_labels(["q"], ["a"], ["x", "y", "z"], ["a", "b", "a"])
    ranking = Ranking(["q"], ["x", "y", "z"], [[1, 2, -1]], [[2, 1, -np.inf]])
    hits = from_ranking(ranking, truth)
    assert by_query(hits) == [[2]] and hits.relevant.tolist() == [2]


def test_the_query_itself_is_junk():
    truth = GroundTruth.from_labels(["a1", "a2"], ["a", "a"], ["a1", "a2", "b1"], ["a", "a", "b"])
    assert by_query(from_scores(np.array([[9, 5, 7], [1, 9, 0]]), truth)) == [[2], [1]]


def test_a_matrix_of_another_shape_is_refused_with_both():
    with pytest.raises(ArtefactError, match="30.*6"):
        from_scores(np.zeros((30, 6)), truth_of(1))


def test_a_score_that_is_no_number_is_refused_with_its_query():
    truth = truth_of(1)
    scores = tied_scores(1, truth)
    scores[4, 3] = np.nan
    with pytest.raises(DataError, match="q4"):
        from_scores(scores, truth)


def test_embeddings_of_other_images_are_refused():
    truth = truth_of(1)
    queries = Embeddings(truth.query_ids, np.ones((6, 3), np.float32))
    with pytest.raises(ArtefactError, match="gallery"):
        from_embeddings(
            queries, Embeddings(truth.gallery_ids[::-1], np.ones((30, 3), np.float32)), truth
        )


def test_scores_are_not_changed():
    truth = truth_of(2)
    scores = tied_scores(2, truth)
    before = scores.copy()
    from_scores(scores, truth)
    np.testing.assert_array_equal(scores, before)
