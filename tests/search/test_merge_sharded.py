"""A gallery searched in parts and merged is the gallery searched whole."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastseek.errors import ArtefactError, DataError, UsageError
from fastseek.registry import SEARCHERS, build
from fastseek.search._merge import merge
from fastseek.search.exact import Exact
from fastseek.search.sharded import Sharded, fingerprint
from fastseek.structures import Embeddings, Ranking, ranking
from fastseek.structures.arrays import Window
from fastseek.structures.embeddings import slice_embeddings


def embeddings(vectors, prefix="", provenance=None):
    return Embeddings(
        [f"{prefix}{row:05d}" for row in range(len(vectors))],
        np.asarray(vectors, np.float32),
        provenance or {},
    )


def tied_pair(seed, queries=6, gallery=60, dim=5, provenance=None):
    """Small whole numbers: ties within and across parts; ids in no order."""
    random = np.random.default_rng(seed)
    q, g = random.integers(-2, 3, (queries, dim)), random.integers(-2, 3, (gallery, dim))
    ids = np.array([f"g{row:05d}" for row in random.permutation(gallery)], str)
    return embeddings(q, "q", provenance), Embeddings(ids, g.astype(np.float32), provenance or {})


def same(one, two):
    np.testing.assert_array_equal(one.gallery_ids, two.gallery_ids)
    np.testing.assert_array_equal(one.query_ids, two.query_ids)
    np.testing.assert_array_equal(one.indices, two.indices)
    np.testing.assert_array_equal(one.scores, two.scores)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    k=st.integers(1, 80),
    rows=st.integers(1, 70),
    metric=st.sampled_from(["ip", "l2"]),
)
def test_merged_parts_are_the_whole_also_among_ties(seed, k, rows, metric):
    queries, gallery = tied_pair(seed)
    search = Exact(k=k, metric=metric)
    parts = [
        search(queries, slice_embeddings(gallery, start, start + rows))
        for start in range(0, len(gallery), rows)
    ]
    same(merge(parts, min(k, len(gallery))), search(queries, gallery))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_merging_is_associative_and_its_order_permutes_the_gallery_only(seed):
    queries, gallery = tied_pair(seed)
    a, b, c = (
        Exact(k=9, metric="ip")(queries, slice_embeddings(gallery, start, start + 20))
        for start in (0, 20, 40)
    )
    same(merge([merge([a, b]), c]), merge([a, b, c]))
    one, two = merge([a, b, c]), merge([c, a, b])
    np.testing.assert_array_equal(one.gallery_ids[one.indices], two.gallery_ids[two.indices])
    np.testing.assert_array_equal(one.scores, two.scores)


def test_one_ranking_merges_to_itself():
    queries, gallery = tied_pair(1)
    ranking = Exact(k=9, metric="ip")(queries, gallery)
    same(merge([ranking]), ranking)


def test_queries_are_matched_by_id_not_by_row():
    queries, gallery = tied_pair(2)
    turned = Embeddings(queries.ids[::-1], queries.vectors[::-1])
    search = Exact(k=9, metric="ip")
    parts = [
        search(queries, slice_embeddings(gallery, 0, 30)),
        search(turned, slice_embeddings(gallery, 30, 60)),
    ]
    same(merge(parts), search(queries, gallery))


def test_empty_places_stay_at_the_end():
    none = Ranking(["q"], ["a", "b"], [[1, -1]], [[0.5, -np.inf]])
    some = Ranking(["q"], ["c", "d"], [[0, 1]], [[0.7, 0.1]])
    merged = merge([none, some], 4)
    assert merged.indices.tolist() == [[2, 1, 3, -1]] and merged.gallery_ids.tolist() == [
        "a",
        "b",
        "c",
        "d",
    ]


def test_the_provenance_tells_what_the_parts_have_in_common():
    queries, gallery = tied_pair(3, provenance={"model": "m"})
    parts = [
        Exact(k=9, metric="ip")(queries, slice_embeddings(gallery, start, start + 20))
        for start in (0, 20, 40)
    ]
    provenance = merge(parts).provenance
    assert (
        provenance["exact"] is True
        and provenance["merged"] == 3
        and provenance["gallery"] == {"model": "m"}
    )
    assert provenance["search"] == "exact(k=9, metric='ip')"
    rough = Ranking(
        parts[0].query_ids,
        parts[0].gallery_ids,
        parts[0].indices,
        parts[0].scores,
        {**parts[0].provenance, "exact": False, "recall": {"value": 0.9}},
    )
    mixed = merge([rough, *parts[1:]]).provenance
    assert mixed["exact"] is False and mixed["recall"] == [{"value": 0.9}, None, None]


def test_what_cannot_be_merged_is_refused_by_number():
    queries, gallery = tied_pair(4, provenance={"model": "m"})
    one, two = (
        Exact(k=9, metric="ip")(queries, slice_embeddings(gallery, start, start + 30))
        for start in (0, 30)
    )
    with pytest.raises(UsageError, match="no ranking"):
        merge([])
    with pytest.raises(DataError, match="stands 2 times"):
        merge([one, one])
    with pytest.raises(ArtefactError, match="ranking 1 is not over the queries"):
        merge(
            [
                one,
                Exact(k=9, metric="ip")(
                    slice_embeddings(queries, 0, 3), slice_embeddings(gallery, 30, 60)
                ),
            ]
        )
    with pytest.raises(ArtefactError, match="0 and 1 differ in search"):
        merge([one, Exact(k=9, metric="l2")(queries, slice_embeddings(gallery, 30, 60))])
    with pytest.raises(ArtefactError, match="lists 9 images, 20 are wanted"):
        merge([one, two], 20)
    stranger = Embeddings(gallery.ids[30:], gallery.vectors[30:], {"model": "other"})
    asked = Embeddings(queries.ids, queries.vectors)
    with pytest.raises(ArtefactError, match="differ in model"):
        merge([one, Exact(k=9, metric="ip")(asked, stranger)])


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), rows=st.integers(1, 70), k=st.sampled_from([1, 7, 100]))
def test_a_sharded_search_is_the_search(seed, rows, k):
    queries, gallery = tied_pair(seed)
    sharded = build(f"sharded(\"exact(k={k}, metric='ip')\", rows={rows})", SEARCHERS)(
        queries, gallery
    )
    same(sharded, Exact(k=k, metric="ip")(queries, gallery))
    assert sharded.provenance["exact"] is True and sharded.provenance["search"].startswith(
        "sharded("
    )


@pytest.mark.parametrize("rows", [(7, 3), (20, 7), (50, 11), (100, 100)])
def test_a_sharded_search_within_a_sharded_search_is_the_search(rows):
    queries, gallery = tied_pair(12)
    inner = f"sharded(\"exact(k=30, metric='ip')\", rows={rows[1]})"
    nested = build(f"sharded({inner!r}, rows={rows[0]})", SEARCHERS)
    same(nested(queries, gallery), Exact(k=30, metric="ip")(queries, gallery))
    assert nested.k == 30


def test_shards_on_disk_are_searched_in_runs_that_cross_them(tmp_path):
    queries, gallery = tied_pair(5)
    gallery.save(tmp_path / "g", rows=17)
    there = Embeddings.load(tmp_path / "g")
    same(
        Sharded("exact(k=8, metric='l2')", rows=23)(queries, there),
        Exact(k=8, metric="l2")(queries, gallery),
    )


class Counted:
    """A searcher that counts its calls and dies at one of them."""

    def __init__(self, searcher, dies_at=0):
        self.searcher, self.k, self.calls, self.dies_at = searcher, searcher.k, 0, dies_at

    def __call__(self, queries, gallery):
        self.calls += 1
        if self.calls == self.dies_at:
            raise KeyboardInterrupt
        return self.searcher(queries, gallery)


def test_a_search_that_was_killed_goes_on_and_ends_in_the_same_bytes(tmp_path):
    queries, gallery = tied_pair(6)

    def search(folder, dies_at=0):
        sharded = Sharded("exact(k=8, metric='ip')", rows=13, folder=str(tmp_path / folder))
        sharded.searcher = counted = Counted(sharded.searcher, dies_at)
        sharded(queries, gallery).save(tmp_path / f"{folder}.npz")
        return counted.calls

    assert search("a") == 5
    with pytest.raises(KeyboardInterrupt):
        search("b", dies_at=3)
    assert sorted(path.name for path in (tmp_path / "b").iterdir()) == [
        "run-00000.npz",
        "run-00001.npz",
    ]
    assert search("b") == 3
    for name in ["a.npz", *(f"a/run-{number:05d}.npz" for number in range(5))]:
        assert (tmp_path / name).read_bytes() == (tmp_path / name.replace("a", "b", 1)).read_bytes()


def test_runs_of_other_embeddings_or_another_search_are_refused(tmp_path):
    queries, gallery = tied_pair(7)
    folder = str(tmp_path / "runs")
    Sharded("exact(k=8, metric='ip')", rows=30, folder=folder)(queries, gallery)
    with pytest.raises(ArtefactError, match="run-00000.npz is of another search"):
        Sharded("exact(k=9, metric='ip')", rows=30, folder=folder)(queries, gallery)
    changed = Embeddings(gallery.ids, gallery.vectors + np.float32(1e-3))
    with pytest.raises(ArtefactError, match="another gallery"):
        Sharded("exact(k=8, metric='ip')", rows=30, folder=folder)(queries, changed)
    with pytest.raises(ArtefactError, match="another queries"):
        Sharded("exact(k=8, metric='ip')", rows=30, folder=folder)(
            slice_embeddings(queries, 0, 5), gallery
        )


def test_a_damaged_run_is_refused(tmp_path):
    queries, gallery = tied_pair(8)
    searcher = Sharded("exact(k=8, metric='ip')", rows=30, folder=str(tmp_path))
    searcher(queries, gallery)
    file = tmp_path / "run-00001.npz"
    file.write_bytes(file.read_bytes()[:-30])
    with pytest.raises(ArtefactError, match="run-00001.npz"):
        searcher(queries, gallery)


def test_an_empty_gallery_and_no_queries_are_searched():
    queries, gallery = tied_pair(9)
    assert Sharded()(queries, slice_embeddings(gallery, 0, 0)).indices.shape == (6, 0)
    assert Sharded(rows=7)(slice_embeddings(queries, 0, 0), gallery).indices.shape == (0, 60)


@pytest.mark.parametrize("call", ["sharded(rows=0)", "sharded('exakt()')", "sharded('exact(k=0)')"])
def test_impossible_settings_are_refused(call):
    with pytest.raises(UsageError):
        build(call, SEARCHERS)


def test_a_window_is_the_slice_of_the_array():
    array = np.arange(60, dtype=np.float32).reshape(20, 3)
    window = Window(array, 4, 15)
    np.testing.assert_array_equal(window, array[4:15])
    for rows in (
        slice(2, 9),
        slice(None, None, 3),
        slice(-4, None),
        np.array([0, 5, 10, -1]),
        3,
        -2,
    ):
        np.testing.assert_array_equal(window[rows], array[4:15][rows])
    assert window.shape == (11, 3) and len(window) == 11


def test_a_fingerprint_tells_ids_numbers_and_types_apart_and_nothing_else(tmp_path):
    _, gallery = tied_pair(10)
    gallery.save(tmp_path / "g", rows=7)
    assert (
        fingerprint(Embeddings.load(tmp_path / "g"))
        == fingerprint(gallery)
        == fingerprint(gallery, rows=3)
    )
    others = [
        Embeddings(gallery.ids[::-1], gallery.vectors),
        Embeddings(gallery.ids, gallery.vectors[::-1]),
        Embeddings(gallery.ids, gallery.vectors.astype(np.float16)),
        slice_embeddings(gallery, 0, 59),
    ]
    assert len({fingerprint(gallery), *map(fingerprint, others)}) == 5


def test_a_last_run_that_is_written_with_all_its_ids_merges_with_longer_ones(tmp_path, monkeypatch):
    monkeypatch.setattr(ranking, "WHOLE", 20)
    queries, gallery = tied_pair(3)
    call = "exact(k=5)"
    found = Sharded(call, rows=25, folder=str(tmp_path))(queries, gallery)
    whole = Sharded(call, rows=25)(queries, gallery)
    np.testing.assert_array_equal(found.indices, whole.indices)
    np.testing.assert_array_equal(found.scores, whole.scores)
    rows = np.unique(whole.indices)
    np.testing.assert_array_equal(found.gallery_ids[rows], gallery.ids[rows])
