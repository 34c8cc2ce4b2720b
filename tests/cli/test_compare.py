import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastseek.cli._diff import compare, compare_files, text
from fastseek.errors import ArtefactError, UsageError
from fastseek.metrics import evaluate
from fastseek.structures import GroundTruth, Ranking


def case(seed, queries=9, gallery=25):
    """A truth with a query nothing answers, and two rankings of it."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 4, queries + gallery).astype(str)
    labels[0], labels[1], labels[queries] = "none", "0", "0"
    truth = GroundTruth.from_labels(
        [f"q{n}" for n in range(queries)],
        labels[:queries],
        [f"g{n:02d}" for n in range(gallery)],
        labels[queries:],
    )
    return truth, [
        ranked(truth, random.normal(size=(queries, gallery)).astype(np.float32)) for _ in range(2)
    ]


def ranked(truth, scores):
    order = np.argsort(-scores, axis=1)
    return Ranking(
        truth.query_ids, truth.gallery_ids, order, np.take_along_axis(scores, order, axis=1)
    )


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_wins_losses_and_ties_are_counted_query_by_query(seed):
    truth, (a, b) = case(seed)
    for one, call in zip(
        compare(a, b, truth, ["map()", "recall(3)"]), ("map()", "recall(3)"), strict=True
    ):
        before, after = (evaluate(ranking, truth, [call])[0] for ranking in (a, b))
        pairs = [
            (str(name), x, y)
            for name, x, y in zip(truth.query_ids, before.per_query, after.per_query, strict=True)
            if x == x
        ]
        assert (one.a, one.b) == (before.value, after.value)
        assert one.wins == sum(y > x + 1e-12 for _, x, y in pairs)
        assert one.losses == sum(y < x - 1e-12 for _, x, y in pairs) == len(one.worse)
        assert one.wins + one.losses + one.ties == len(pairs)
        assert [name for name, _, _ in one.worse] == [
            name for name, x, y in sorted(pairs, key=lambda p: (p[2] - p[1], p[0])) if y < x - 1e-12
        ]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_swapping_the_rankings_swaps_everything(seed):
    truth, (a, b) = case(seed)
    one, other = compare(a, b, truth, ["map()"])[0], compare(b, a, truth, ["map()"])[0]
    assert (one.a, one.b, one.wins, one.losses, one.ties) == (
        other.b,
        other.a,
        other.losses,
        other.wins,
        other.ties,
    )
    assert one.span == pytest.approx((-other.span[1], -other.span[0]))


def test_a_ranking_against_itself_is_all_ties():
    truth, (a, _) = case(1)
    one = compare(a, a, truth, ["map()"])[0]
    assert (one.wins, one.losses, one.ties, one.span, one.worse) == (0, 0, 8, (0.0, 0.0), ())
    assert "worse" not in text([one])


def test_rankings_in_another_order_are_matched_by_id():
    truth, (a, b) = case(2)
    turned = Ranking(b.query_ids[::-1], b.gallery_ids, b.indices[::-1], b.scores[::-1])
    assert compare(a, turned, truth, ["map()"])[0].worse == compare(a, b, truth, ["map()"])[0].worse


def test_the_interval_lies_around_the_difference_and_stays_for_a_seed():
    truth, (a, b) = case(3)
    one = compare(a, b, truth, ["map()"], seed=4)[0]
    assert one.span[0] <= one.b - one.a <= one.span[1]
    assert one.span == compare(a, b, truth, ["map()"], seed=4)[0].span
    assert one.span != compare(a, b, truth, ["map()"], seed=5)[0].span


def test_a_figure_that_is_no_mean_over_queries_is_refused():
    truth, (a, b) = case(4)
    with pytest.raises(UsageError, match="no mean over queries"):
        compare(a, b, truth, ["gap()"])


def test_a_ranking_of_other_queries_is_refused():
    truth, (a, b) = case(4)
    with pytest.raises(ArtefactError, match="ranking lacks 1 of"):
        compare(
            a,
            Ranking(b.query_ids[1:], b.gallery_ids, b.indices[1:], b.scores[1:]),
            truth,
            ["map()"],
        )


def test_files_are_compared_and_the_page_begins_with_what_got_worse(tmp_path):
    truth, (a, b) = case(5)
    truth.save(tmp_path / "t.npz")
    for name, ranking in (("a", a), ("b", b)):
        ranking.save(tmp_path / f"{name}.npz")
    files = [tmp_path / name for name in ("a.npz", "b.npz", "t.npz")]
    found = json.loads(compare_files(*files, ["map()"], "-", tmp_path / "page.html"))["map"]
    one = compare(a, b, truth, ["map()"])[0]
    assert found["difference"] == pytest.approx(one.b - one.a)
    assert [(row["query"], row["a"], row["b"]) for row in found["worse"]] == list(one.worse)
    page = (tmp_path / "page.html").read_text()
    assert "What got worse from A to B" in page
    lowest = min(one.worse, key=lambda row: row[2])[0]
    others = [
        str(name) for name in truth.query_ids if str(name) not in {row[0] for row in one.worse}
    ]
    assert all(page.index(f">{lowest}<") < page.index(f">{name}<") for name in others)
    assert "worse in B by map" in compare_files(*files, ["map()"], tmp_path / "c.json")
    assert json.loads((tmp_path / "c.json").read_text())["map"] == found


def test_a_page_where_nothing_got_worse_is_written_too(tmp_path):
    truth, (a, _) = case(6)
    truth.save(tmp_path / "t.npz")
    a.save(tmp_path / "a.npz")
    compare_files(
        tmp_path / "a.npz",
        tmp_path / "a.npz",
        tmp_path / "t.npz",
        ["map()"],
        None,
        tmp_path / "page.html",
    )
    assert (tmp_path / "page.html").exists()
