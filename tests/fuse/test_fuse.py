import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastseek.fuse  # noqa: F401  (registers the fusers)
from fastseek.errors import ArtefactError, DataError, UsageError
from fastseek.fuse._frame import find_common
from fastseek.fuse._members import Members
from fastseek.registry import FUSERS, build
from fastseek.structures import Ranking

CALLS = [
    "sum_top(per_model=7, keep=6)",
    "sum_top()",
    "sum_top(scale='minmax')",
    "vote(depth=5)",
    "vote(depth=30, keep=9)",
    "reciprocal_rank()",
    "reciprocal_rank(k=1, keep=4)",
    "distance_average()",
    "distance_average(scale='zscore', keep=5)",
    "distance_average(scale='none')",
]
WHOLE = [
    "sum_top(per_model=30, keep=30)",
    "vote(depth=30)",
    "reciprocal_rank()",
    "distance_average()",
    "distance_average(scale='zscore')",
    "distance_average(scale='none')",
]


def ranking_of(random, queries=5, gallery=14, depth=8, ties=True):
    """Lists of unequal length over a shuffled gallery, with many equal scores in any order."""
    g_ids = [f"g{number:02d}" for number in random.permutation(gallery)]
    q_ids = [f"q{number}" for number in random.permutation(queries)]
    rows = np.stack([random.permutation(gallery)[:depth] for _ in range(queries)])
    scores = random.integers(-3, 6, rows.shape) if ties else random.normal(size=rows.shape)
    scores = -np.sort(-scores.astype(np.float32), axis=1)
    short = np.arange(depth) >= random.integers(0, depth + 1, queries)[:, None]
    short[0] = False
    scores[0, 0] = 9
    return Ranking(
        q_ids,
        g_ids,
        np.where(short, -1, rows),
        np.where(short, -np.inf, scores),
        {"made": "by hand"},
    )


def members_of(seed, count=3, **more):
    random = np.random.default_rng(seed)
    return [ranking_of(random, depth=int(random.integers(2, 10)), **more) for _ in range(count)]


def answers(ranking, scores=True):
    """query id -> list of (gallery id, score)."""
    return {
        str(query): [
            (str(ranking.gallery_ids[row]), float(score) if scores else None)
            for row, score in zip(rows, values, strict=True)
            if row >= 0
        ]
        for query, rows, values in zip(
            ranking.query_ids, ranking.indices, ranking.scores, strict=True
        )
    }


def slow(members, value, absent, keep, depth=None, weights=None):
    """Every image of every query on its own: add, sort by (sum, best place, id), cut."""
    lists = [answers(member) for member in members]
    weights = weights or [1] * len(members)
    fused = {}
    for query in lists[0]:
        mine = [some[query][:depth] for some in lists]
        seen = {item for some in mine for item, _ in some}
        total, place = {}, {}
        for item in seen:
            places = [
                next((at for at, (other, _) in enumerate(some, 1) if other == item), None)
                for some in mine
            ]
            shares = [
                weight
                * (absent(some, number) if at is None else value(some[at - 1][1], at, number))
                for number, (some, at, weight) in enumerate(zip(mine, places, weights, strict=True))
            ]
            total[item] = np.float32(np.sort(shares).sum())
            place[item] = min(at for at in places if at is not None)
        fused[query] = sorted(seen, key=lambda item: (-total[item], place[item], item))[:keep]
        fused[query] = [(item, float(total[item])) for item in fused[query]]
    return fused


def slow_distances(members, scale):
    """The scaled values of all members: (value, absent) for `slow`."""
    every = [
        np.array([score for some in answers(member).values() for _, score in some])
        for member in members
    ]
    shift, divisor = {
        "max": (np.max, np.ptp),
        "zscore": (np.mean, np.std),
        "none": (lambda _: 0.0, lambda _: 1.0),
    }[scale]
    scales = [(shift(scores), divisor(scores) or 1.0) for scores in every]

    def value(score, at, number):
        return (score - scales[number][0]) / scales[number][1]

    def absent(some, number):
        return value(some[-1][1] if some else every[number].min(), None, number)

    return value, absent


def same(fused, expected):
    got = answers(fused)
    assert got.keys() == expected.keys()
    for query, wanted in expected.items():
        assert [item for item, _ in got[query]] == [item for item, _ in wanted]
        np.testing.assert_allclose(
            [s for _, s in got[query]], [s for _, s in wanted], rtol=1e-6, atol=1e-6
        )


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000))
def test_the_sum_of_the_best_is_its_definition(seed):
    """landmark row 44."""
    members = members_of(seed)
    expected = slow(
        members, lambda score, at, number: score, lambda some, number: 0.0, keep=6, depth=7
    )
    same(build("sum_top(per_model=7, keep=6)", FUSERS)(members), expected)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000))
def test_a_vote_is_its_definition(seed):
    """finegrained row 48."""
    members = members_of(seed)
    expected = slow(
        members,
        lambda score, at, number: 1 / at,
        lambda some, number: 0.0,
        keep=9,
        depth=5,
        weights=[1, 0.5, 2],
    )
    same(build("vote(depth=5, weights=(1, 0.5, 2), keep=9)", FUSERS)(members), expected)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000))
def test_reciprocal_rank_is_its_definition(seed):
    members = members_of(seed)
    keep = max(member.indices.shape[1] for member in members)
    expected = slow(
        members, lambda score, at, number: 1 / (60 + at), lambda some, number: 0.0, keep=keep
    )
    same(build("reciprocal_rank(k=60)", FUSERS)(members), expected)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(["max", "zscore", "none"]))
def test_the_average_of_distances_is_its_definition(seed, scale):
    """finegrained row 49."""
    members = members_of(seed, ties=False)
    value, absent = slow_distances(members, scale)
    expected = slow(members, value, absent, keep=99, weights=[0.2, 0.3, 0.5])
    same(
        build(f"distance_average(weights=(2, 3, 5), scale={scale!r}, keep=99)", FUSERS)(members),
        expected,
    )


def test_a_worked_vote_gives_one_then_a_half_then_a_third():
    """finegrained row 48."""
    ids = ["a", "b", "c", "d"]
    first = Ranking(["q"], ids, [[0, 1, 2]], [[3.0, 2.0, 1.0]])
    second = Ranking(["q"], ids, [[1, 3, 0]], [[9.0, 5.0, 4.0]])
    fused = answers(build("vote(depth=3, keep=4)", FUSERS)([first, second]))["q"]
    assert [item for item, _ in fused] == ["b", "a", "d", "c"]
    assert [score for _, score in fused] == pytest.approx([1.5, 4 / 3, 0.5, 1 / 3])


def test_equal_votes_go_to_the_better_best_place_then_to_the_smaller_id():
    """landmark row 44."""
    ids = ["a", "b", "c"]
    first = Ranking(["q"], ids, [[0, 1]], [[2.0, 1.0]])
    second = Ranking(["q"], ids, [[2, 1]], [[2.0, 1.0]])
    fused = answers(build("vote(depth=2, keep=3)", FUSERS)([first, second]), scores=False)["q"]
    assert [item for item, _ in fused] == [
        "a",
        "c",
        "b",
    ]  # one vote each, b's from two second places


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(WHOLE), st.integers(1, 4))
def test_fusing_a_ranking_with_itself_changes_nothing(seed, call, times):
    member = members_of(seed, 1)[0]
    fused = build(call, FUSERS)([member] * times)
    assert answers(fused, scores=False) == answers(member, scores=False)
    assert np.array_equal(fused.query_ids, member.query_ids)
    assert np.array_equal(fused.gallery_ids, member.gallery_ids)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(CALLS))
def test_the_order_of_the_members_changes_nothing(seed, call):
    members = members_of(seed, 4, ties=False)
    fuser = build(call, FUSERS)
    order = np.random.default_rng(seed).permutation(4)
    assert answers(fuser(members)) == answers(fuser([members[number] for number in order]))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(CALLS))
def test_members_are_matched_by_id_and_never_by_position(seed, call):
    members = members_of(seed, 3)
    shuffled = [shuffle(member, seed + number) for number, member in enumerate(members)]
    fuser = build(call, FUSERS)
    got, expected = answers(fuser(shuffled)), answers(fuser(members))
    assert got.keys() == expected.keys()
    for query in got:
        assert [item for item, _ in got[query]] == [item for item, _ in expected[query]]


def shuffle(ranking, seed):
    """The same ranking with queries and gallery in another order."""
    random = np.random.default_rng(seed)
    queries, gallery = (
        random.permutation(len(ranking.query_ids)),
        random.permutation(len(ranking.gallery_ids)),
    )
    place = np.argsort(gallery)
    indices = ranking.indices[queries]
    return Ranking(
        ranking.query_ids[queries],
        ranking.gallery_ids[gallery],
        np.where(indices < 0, -1, place[indices]),
        ranking.scores[queries],
    )


@pytest.mark.parametrize("call", CALLS)
def test_the_number_of_queries_at_a_time_changes_nothing(call, monkeypatch):
    members = members_of(5, 3)
    expected = answers(build(call, FUSERS)(members))
    monkeypatch.setattr(
        Members,
        "query_blocks",
        lambda self: (slice(row, row + 1) for row in range(len(self.query_ids))),
    )
    assert answers(build(call, FUSERS)(members)) == expected


@pytest.mark.parametrize("call", CALLS)
def test_the_members_are_left_as_they_were(call):
    members = members_of(8, 3)
    before = [(member.indices.copy(), member.scores.copy()) for member in members]
    build(call, FUSERS)(members)
    for member, (indices, scores) in zip(members, before, strict=True):
        assert np.array_equal(member.indices, indices)
        assert np.array_equal(member.scores, scores)


@pytest.mark.parametrize(
    "call",
    [
        "sum_top(weights=(1, 0, 2))",
        "vote(weights=(1, 0, 2))",
        "reciprocal_rank(weights=(1, 0, 2))",
        "distance_average(weights=(1, 0, 2))",
    ],
)
def test_a_member_of_weight_nothing_is_as_good_as_absent(call):
    members = members_of(3, 3)
    members[1] = ranking_of(np.random.default_rng(77), depth=members[0].indices.shape[1])
    kept = max(
        members[0].indices.shape[1], members[2].indices.shape[1], members[1].indices.shape[1]
    )
    call = call[:-1] + f", keep={kept})"
    without = call.replace("(1, 0, 2)", "(1, 2)")
    assert answers(build(call, FUSERS)(members)) == answers(
        build(without, FUSERS)([members[0], members[2]])
    )


def test_galleries_may_differ_where_a_union_is_meant():
    first = Ranking(["q"], ["a", "b"], [[0, 1]], [[2.0, 1.0]])
    second = Ranking(["q"], ["z", "b"], [[0, 1]], [[0.5, 0.25]])
    fused = build("sum_top(union=True)", FUSERS)([first, second])
    assert answers(fused)["q"] == [("a", 2.0), ("b", 1.25), ("z", 0.5)]
    with pytest.raises(
        ArtefactError, match="member 2 does not fit member 1: it lacks 1 gallery images.*'a'"
    ):
        build("sum_top()", FUSERS)([first, second])


def test_a_member_of_other_queries_is_named():
    first = Ranking(["q", "r"], ["a", "b"], [[0, 1], [1, 0]], [[2.0, 1.0], [2.0, 1.0]])
    second = Ranking(["q"], ["a", "b"], [[0, 1]], [[2.0, 1.0]])
    with pytest.raises(
        ArtefactError, match="two.npz does not fit one.npz: it lacks 1 queries, the first is 'r'"
    ):
        build("vote()", FUSERS)([first, second], ["one.npz", "two.npz"])
    with pytest.raises(
        ArtefactError, match="member 2 does not fit member 1: it has, unlike member 1, 1 queries"
    ):
        build("vote()", FUSERS)([second, first])


def test_a_member_that_ranks_nothing_is_named():
    good = Ranking(["q"], ["a", "b"], [[0, 1]], [[2.0, 1.0]])
    bad = Ranking(["q"], ["a", "b"], [[0, 1]], [[1.0, 1.0]])
    with pytest.raises(DataError, match="member 3: .*all 2 scores are 1.0"):
        build("distance_average()", FUSERS)([good, good, bad])


def test_wrong_numbers_of_members_and_weights_are_refused():
    member = members_of(1, 1)[0]
    with pytest.raises(UsageError, match="nothing to fuse"):
        build("vote()", FUSERS)([])
    with pytest.raises(UsageError, match="3 weights for 2 members"):
        build("vote(weights=(1, 2, 3))", FUSERS)([member, member])


@pytest.mark.parametrize(
    "call",
    [
        "vote(depth=0)",
        "vote(weights=(-1, 1))",
        "vote(weights=(0, 0))",
        "sum_top(keep=0)",
        "sum_top(per_model=1.5)",
        "distance_average(scale='min')",
        "reciprocal_rank(k=-1)",
        "vote(weights=3)",
        "sum_top(weights=())",
    ],
)
def test_impossible_settings_are_refused(call):
    with pytest.raises(UsageError):
        build(call, FUSERS)


def test_the_provenance_tells_the_fuser_and_its_members():
    members = members_of(2, 2)
    provenance = build("vote(depth=3, weights=(1, 2))", FUSERS)(members).provenance
    assert provenance["fuse"] == "vote(depth=3, weights=(1.0, 2.0))"
    assert provenance["members"] == [{"made": "by hand"}, {"made": "by hand"}]
    assert find_common([{"root": "x", "model": 1}, {"root": "x", "model": 2}]) == {"root": "x"}
    assert find_common([None, {"root": "x"}]) == {}


@pytest.mark.parametrize("call", CALLS)
def test_no_queries_at_all_give_no_answers(call):
    empty = Ranking(
        np.empty(0, str), ["a"], np.empty((0, 3), np.int64), np.empty((0, 3), np.float32)
    )
    assert build(call, FUSERS)([empty, empty]).indices.shape[0] == 0


def test_a_place_stands_below_a_k_as_large_as_a_whole_number_can_be():
    member = Ranking(["q"], ["a", "b"], [[1, 0]], [[2.0, 1.0]])
    fused = build(f"reciprocal_rank(k={2**63 - 1})", FUSERS)([member, member])
    assert fused.indices.tolist() == [[1, 0]] and (fused.scores > 0).all()
    with pytest.raises(UsageError, match="k must be a number"):
        build(f"reciprocal_rank(k={10**30})", FUSERS)
