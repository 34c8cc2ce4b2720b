"""A ranking that knows only the ids it lists answers like the one that knows all of its gallery."""

import json
import os

import numpy as np
import pytest

from fastseek.cli._rankings import load_ranking
from fastseek.cli._score import score_file
from fastseek.errors import ArtefactError, DataError
from fastseek.formats.answer_lists import Lists
from fastseek.metrics._align import align
from fastseek.metrics._evaluate import evaluate
from fastseek.registry import FUSERS, RERANKERS, SEARCHERS, build
from fastseek.rerank._base import sort_anew
from fastseek.search._merge import merge
from fastseek.structures import Embeddings, GroundTruth, Ranking, ranking
from fastseek.structures.id_column import IdColumn
from fastseek.structures.listed_ids import ListedIds, same_ids

GALLERY = 60


@pytest.fixture(autouse=True)
def every_gallery_is_large(monkeypatch):
    monkeypatch.setattr(ranking, "WHOLE", 0)


def sides(seed, gallery=GALLERY, queries=7):
    draw = np.random.default_rng(seed)
    make = [
        Embeddings(
            [f"{side}/{number:03d}é.jpg" for number in draw.permutation(count)],
            # Few values, so that many scores are equal and ids decide.
            draw.integers(-1, 2, (count, 3)).astype(np.float32) + np.float32(0.25),
            {"root": "/images"},
        )
        for side, count in (("q", queries), ("g", gallery))
    ]
    return make


def searched(seed, k=5, **change):
    queries, gallery = sides(seed, **change)
    return build(f"exact(k={k})", SEARCHERS)(queries, gallery), queries, gallery


def listed(whole, tmp_path, name="r.npz"):
    whole.save(tmp_path / name)
    loaded = Ranking.load(tmp_path / name)
    assert isinstance(loaded.gallery_ids, ListedIds)
    return loaded


def assert_same(one, other):
    np.testing.assert_array_equal(one.query_ids, other.query_ids)
    np.testing.assert_array_equal(one.indices, other.indices)
    np.testing.assert_array_equal(one.scores, other.scores)
    assert list(one.rows()) == list(other.rows())
    assert len(one.gallery_ids) == len(other.gallery_ids)


@pytest.mark.parametrize("seed", range(5))
def test_what_is_saved_is_loaded_with_the_ids_that_are_listed(seed, tmp_path):
    whole, _, gallery = searched(seed)
    few = listed(whole, tmp_path)
    assert_same(few, whole)
    rows = np.unique(whole.indices)
    np.testing.assert_array_equal(few.gallery_ids[whole.indices], whole.gallery_ids[whole.indices])
    assert few.gallery_ids[int(rows[0])] == whole.gallery_ids[rows[0]]
    assert few.gallery_ids.rows.tolist() == rows.tolist()
    again = listed(few, tmp_path, "again.npz")
    assert_same(again, whole)
    assert again.provenance == whole.provenance
    back = few.with_gallery(gallery.ids)
    np.testing.assert_array_equal(back.gallery_ids, whole.gallery_ids)


def test_a_short_list_and_an_empty_one_come_back(tmp_path):
    short = Ranking(["a", "b"], ["x", "y", "z"], [[2, -1], [-1, -1]], [[1, -np.inf], [-np.inf] * 2])
    assert_same(listed(short, tmp_path), short)
    none = Ranking(["a"], ["x"], np.zeros((1, 0)), np.zeros((1, 0)))
    assert_same(listed(none, tmp_path), none)


def test_small_galleries_are_written_whole_as_before(tmp_path, monkeypatch):
    monkeypatch.setattr(ranking, "WHOLE", GALLERY)
    whole, *_ = searched(0)
    whole.save(tmp_path / "r.npz")
    assert sorted(np.load(tmp_path / "r.npz").files) == [
        "gallery_ids",
        "indices",
        "passport",
        "query_ids",
        "scores",
    ]
    np.testing.assert_array_equal(Ranking.load(tmp_path / "r.npz").gallery_ids, whole.gallery_ids)


def test_the_size_of_a_file_does_not_grow_with_the_gallery(tmp_path):
    sizes = []
    for count in (1_000, 100_000):
        ids = IdColumn.from_strings(f"{row:07d}.jpg" for row in range(count))
        path = tmp_path / f"{count}.npz"
        Ranking(["q"], ids, [[5, 2, 7]], [[3, 2, 1]]).save(path)
        sizes.append(path.stat().st_size)
    assert sizes[1] - sizes[0] < 64


def test_another_gallery_or_another_order_is_refused(tmp_path):
    whole, queries, gallery = searched(1)
    few = listed(whole, tmp_path)
    ids = np.asarray(gallery.ids)
    for other in (ids[::-1], ids[:-1], np.char.add(ids, "x"), IdColumn.from_strings(ids[::-1])):
        with pytest.raises(ArtefactError, match="not of this gallery"):
            few.with_gallery(other)
        assert not same_ids(few.gallery_ids, other)
    assert same_ids(few.gallery_ids, IdColumn.from_strings(ids))
    others = Embeddings(np.char.add(ids, "x"), gallery.vectors, gallery.provenance)
    with pytest.raises(ArtefactError, match="is not over this gallery"):
        build("k_reciprocal()", RERANKERS)(few, queries, others)


def test_all_ids_are_read_from_their_file_while_it_is_there(tmp_path):
    queries, gallery = sides(2)
    IdColumn.from_strings(gallery.ids).save(tmp_path / "ids.safetensors")
    ids = IdColumn.load(tmp_path / "ids.safetensors")
    found = build("exact(k=5)", SEARCHERS)(queries, gallery)
    few = listed(found.with_gallery(ids), tmp_path)
    assert few.gallery_ids.tolist() == gallery.ids.tolist()
    np.testing.assert_array_equal(few.gallery_ids[3:9], gallery.ids[3:9])
    IdColumn.from_strings(gallery.ids[::-1]).save(tmp_path / "ids.safetensors")
    for _ in range(2):
        for ask in (
            few.gallery_ids.tolist,
            lambda: few.gallery_ids[:],
            lambda: list(few.gallery_ids),
        ):
            with pytest.raises(ArtefactError, match="--gallery"):
                ask()
        (tmp_path / "ids.safetensors").unlink(missing_ok=True)
    unlisted = np.setdiff1d(np.arange(GALLERY), found.indices)
    with pytest.raises(ArtefactError, match="ids of the 2?[0-9] images it lists"):
        few.gallery_ids[unlisted[:1]]


@pytest.mark.parametrize("call", ["k_reciprocal()", "super_global()", "diffusion()"])
def test_reranking_is_the_same(call, tmp_path):
    whole, queries, gallery = searched(3, k=10)
    part = build(call, RERANKERS)
    assert_same(part(listed(whole, tmp_path), queries, gallery), part(whole, queries, gallery))


@pytest.mark.parametrize("seed", range(3))
def test_new_scores_are_put_in_order_alike(seed, tmp_path):
    whole, *_ = searched(seed, k=9)
    scores = np.random.default_rng(seed).integers(0, 3, whole.scores.shape)
    assert_same(sort_anew(listed(whole, tmp_path), scores), sort_anew(whole, scores))


@pytest.mark.parametrize("call", ["reciprocal_rank()", "vote()", "sum_top()", "distance_average()"])
def test_fusing_is_the_same(call, tmp_path):
    queries, gallery = sides(4)
    other = Embeddings(gallery.ids, np.asarray(gallery.vectors)[:, ::-1].copy(), gallery.provenance)
    members = [build("exact(k=6)", SEARCHERS)(queries, side) for side in (gallery, other)]
    few = [listed(one, tmp_path, f"{row}.npz") for row, one in enumerate(members)]
    part = build(call, FUSERS)
    for made in (
        part(few, None),
        part([members[0], few[1]], None),
        part([few[0], members[1]], None),
    ):
        assert_same(made, part(members, None))
    with pytest.raises(ArtefactError):
        part([few[0], searched(5)[0]], None)


@pytest.mark.parametrize("seed", range(3))
def test_scores_are_the_same_by_a_truth_in_any_order_while_the_ids_are_known(seed, tmp_path):
    whole, queries, gallery = searched(seed)
    labels = {name: name[-7] for name in [*queries.ids.tolist(), *gallery.ids.tolist()]}
    truths = [
        GroundTruth.from_labels(
            *([[*ids], [labels[name] for name in ids]][part] for ids in order for part in (0, 1))
        )
        for order in (
            (queries.ids.tolist(), gallery.ids.tolist()),
            (queries.ids.tolist()[::-1], gallery.ids.tolist()),
            (queries.ids.tolist(), gallery.ids.tolist()[::-1]),
        )
    ]
    few, calls = listed(whole, tmp_path), ["map(5)", "recall(1)"]
    right = [one.value for one in evaluate(whole, truths[0], calls)]
    for truth in truths[:2]:
        assert [one.value for one in evaluate(few, truth, calls)] == pytest.approx(right)
    assert_same(align(few, truths[1]), align(whole, truths[1]))
    with pytest.raises(ArtefactError, match="--gallery"):
        evaluate(few, truths[2], calls)
    full = few.with_gallery(gallery.ids)
    assert [one.value for one in evaluate(full, truths[2], calls)] == pytest.approx(right)


def test_the_command_scores_a_table_of_labels_with_the_gallery_at_hand(tmp_path):
    whole, queries, gallery = searched(6)
    gallery.save(tmp_path / "gallery")
    whole.save(tmp_path / "r.npz")
    names = [*queries.ids.tolist(), *gallery.ids.tolist()]
    rows = [f"{name},{name[-7]}" for name in names]
    (tmp_path / "truth.csv").write_text("\n".join(["id,label", *rows]))
    given = tmp_path / "r.npz", tmp_path / "truth.csv", ["map(5)"], "-"
    with pytest.raises(ArtefactError, match="--gallery"):
        score_file(*given)
    with_gallery = json.loads(score_file(*given, tmp_path / "gallery"))
    ranking.WHOLE, before = GALLERY, ranking.WHOLE
    whole.save(tmp_path / "r.npz", force=True)
    ranking.WHOLE = before
    assert with_gallery == json.loads(score_file(*given))
    other = searched(7)[2]
    other.save(tmp_path / "other")
    with pytest.raises(ArtefactError, match=r"r\.npz: the ranking is not of this gallery"):
        load_ranking(tmp_path / "r.npz", tmp_path / "other")


def test_a_wrong_gallery_is_told_as_one_and_not_asked_for(tmp_path):
    whole, queries, gallery = searched(6)
    rerank = build("k_reciprocal(k1=3, k2=2)", RERANKERS)
    for few in (listed(whole, tmp_path), whole):
        others = Embeddings(np.char.add("x", gallery.ids), gallery.vectors, gallery.provenance)
        for other in (others, Embeddings(gallery.ids[1:], gallery.vectors[1:])):
            with pytest.raises(ArtefactError, match="is not over this gallery: give the embed"):
                rerank(few, queries, other)


@pytest.mark.parametrize("seed", range(4))
def test_parts_of_a_gallery_merge_to_the_search_of_the_whole(seed, tmp_path):
    queries, gallery = sides(seed)
    search = build("exact(k=6)", SEARCHERS)
    cuts = [(0, 20), (20, 21), (21, GALLERY)]
    parts = [
        Embeddings(gallery.ids[a:b], np.asarray(gallery.vectors)[a:b], gallery.provenance)
        for a, b in cuts
    ]
    few = [listed(search(queries, part), tmp_path, f"{row}.npz") for row, part in enumerate(parts)]
    merged = merge(few, 6)
    assert_same(merged, search(queries, gallery))
    assert same_ids(merged.gallery_ids, gallery.ids)
    assert same_ids(merged.gallery_ids, listed(merged, tmp_path).gallery_ids)
    assert not same_ids(merged.gallery_ids, np.asarray(gallery.ids)[::-1])
    with pytest.raises(ArtefactError, match="merge such as are alike"):
        merge([few[0], search(queries, parts[1])], 1)


def test_lists_for_submissions_are_the_same(tmp_path):
    whole, *_ = searched(8)
    assert (
        Lists.from_ranking(listed(whole, tmp_path), 3).texts == Lists.from_ranking(whole, 3).texts
    )


def test_any_cut_and_any_flipped_byte_is_refused_or_harmless(tmp_path):
    whole, *_ = searched(9, queries=2)
    path = tmp_path / "r.npz"
    whole.save(path)
    right, content = Ranking.load(path), path.read_bytes()
    for length in range(0, len(content), 97):
        path.write_bytes(content[:length])
        with pytest.raises((ArtefactError, DataError)):
            Ranking.load(path)
    for place in range(0, len(content), 13):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0x55]) + content[place + 1 :])
        try:
            loaded = Ranking.load(path)
        except (ArtefactError, DataError):
            continue
        assert_same(loaded, right)
        assert loaded.gallery_ids.digest == right.gallery_ids.digest


@pytest.mark.parametrize(
    "change",
    [
        {"listed_rows": np.array([2, 0])},
        {"listed_rows": np.array([0, 3])},
        {"listed_rows": np.array([-1, 2])},
        {"listed_rows": np.array([0.5, 2])},
        {"listed_rows": np.array([0])},
        {"listed_rows": np.array([0, 1])},
        {"listed_ids": np.array(["c", "c"])},
        {"gallery": np.asarray("[]")},
        {"gallery": np.asarray('{"count": 3}')},
        {"gallery": np.asarray('{"count": "3", "digest": "", "file": ""}')},
    ],
)
def test_a_foreign_file_that_is_not_whole_is_refused_by_its_name(change, tmp_path):
    about = json.dumps({"count": 3, "digest": "x", "file": ""})
    given = {
        "indices": np.array([[2, 0]]),
        "scores": np.array([[1.0, 0.5]], np.float32),
        "query_ids": np.array(["q"]),
        "listed_rows": np.array([0, 2]),
        "listed_ids": np.array(["a", "c"]),
        "gallery": np.asarray(about),
    }
    np.savez(tmp_path / "r.npz", **given)
    assert [one.id for one in Ranking.load(tmp_path / "r.npz").rows()] == ["c", "a"]
    np.savez(tmp_path / "r.npz", **given | change)
    with pytest.raises((ArtefactError, DataError), match=r"r\.npz"):
        Ranking.load(tmp_path / "r.npz")


def test_a_file_name_of_ids_that_leads_elsewhere_opens_nothing_else(tmp_path):
    (tmp_path / "secret").write_text("not ids")
    ids = ListedIds(np.array([0]), np.array(["a"]), 2, "x", os.fspath(tmp_path / "secret"))
    with pytest.raises(ArtefactError, match="give the gallery"):
        ids.whole()


def test_ids_are_not_read_from_a_file_whose_letters_were_changed(tmp_path):
    queries, gallery = sides(2)
    file = tmp_path / "ids.safetensors"
    IdColumn.from_strings(gallery.ids).save(file)
    found = build("exact(k=5)", SEARCHERS)(queries, gallery)
    few = listed(found.with_gallery(IdColumn.load(file)), tmp_path)
    assert few.gallery_ids.tolist() == gallery.ids.tolist()
    file.write_bytes(file.read_bytes().replace(b"g/007", b"g/907"))
    with pytest.raises(ArtefactError, match="not those that were written"):
        few.gallery_ids.tolist()
