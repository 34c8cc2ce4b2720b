"""An id belongs to its root: equal names in two folders, or rows of two files, are two images."""

import dataclasses
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastseek.cli._search import read_side
from fastseek.errors import ArtefactError, DataError
from fastseek.fuse.reciprocal_rank import ReciprocalRank
from fastseek.metrics import evaluate
from fastseek.recognition.distractors import measure_likeness
from fastseek.retrieval import retrieve
from fastseek.structures import Embeddings, GroundTruth, Item, ItemTable, Kind, Ranking
from fastseek.structures.ground_truth_file import read_truth
from fastseek.structures.identity import (
    compare_ids,
    file_name,
    is_same_file,
    roots_differ,
    unique_items,
)

NAMES = st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=6, unique=True)
LABELS = st.lists(st.sampled_from("xyz"), min_size=8, max_size=8)
CALLS = ["map(3)", "recall(1, 2)", "gap()"]


def embed(names, root, seed):
    vectors = np.random.default_rng(seed).normal(size=(len(names), 4)).astype(np.float32)
    return Embeddings(np.array(names), vectors, {"root": root})


def write_truth(path, queries, gallery, labels):
    rows = [(name, label, "query") for name, label in zip(queries, labels, strict=False)]
    rows += [(name, label, "gallery") for name, label in zip(gallery, labels[::-1], strict=False)]
    lines = [",".join(row) for row in (("id", "label", "split"), *rows)]
    path.write_text("\n".join(lines) + "\n")
    return path


def rank_and_score(path, queries, gallery, labels):
    """What a user gets of two embedded folders: rows, scores and figures, or the refusal."""
    ranking = retrieve(queries, gallery, "exact(k=3)")[0]
    truth = read_truth(
        write_truth(path, queries.ids.tolist(), gallery.ids.tolist(), labels), ranking
    )
    try:
        figures = [(one.name, one.value) for one in evaluate(ranking, truth, CALLS)]
    except DataError:  # no query has an answer
        figures = []
    return ranking.indices.tolist(), ranking.scores.tolist(), figures


@settings(max_examples=60, deadline=None)
@given(NAMES, NAMES, LABELS, st.integers(0, 99))
def test_F05_two_folders_score_as_they_do_after_every_image_got_a_name_of_its_own(
    tmp_path_factory, asked, stored, labels, seed
):
    path = tmp_path_factory.mktemp("f05") / "t.csv"
    plain = rank_and_score(
        path, embed(asked, "/a/query", seed), embed(stored, "/a/gallery", seed + 1), labels
    )
    renamed = rank_and_score(
        path,
        embed([f"q-{name}" for name in asked], "/a/query", seed),
        embed([f"g-{name}" for name in stored], "/a/gallery", seed + 1),
        labels,
    )
    assert plain == renamed


def test_F05_two_folders_with_equal_names_are_different_images(tmp_path):
    sides = {"queries": {"root": "/a/query"}, "gallery": {"root": "/a/gallery"}}
    ranking = Ranking(["i", "j"], ["i", "j"], [[0, 1], [1, 0]], [[2, 1], [2, 1]], sides)
    table = write_truth(tmp_path / "t.csv", ["i", "j"], ["i", "j"], ["x", "y", "y", "x"])
    table.write_text("id,label,split\ni,x,query\nj,y,query\ni,x,gallery\nj,y,gallery\n")
    score = evaluate(ranking, read_truth(table, ranking), ["map()"])[0]
    assert score.value == 1 and score.protocol["self_match"] == "none: ids of other roots"
    one = {"queries": {"root": "/a"}, "gallery": {"root": "/a"}}
    with pytest.raises(DataError, match="none of the 2 queries"):
        same = dataclasses.replace(ranking, provenance=one)
        evaluate(same, read_truth(table, same), ["map()"])


def test_F05_a_table_without_split_is_refused_where_an_id_names_two_images(tmp_path):
    sides = {"queries": {"root": "/a/query"}, "gallery": {"root": "/a/gallery"}}
    ranking = Ranking(["i"], ["i", "j"], [[0, 1]], [[2, 1]], sides)
    (tmp_path / "t.csv").write_text("id,label\ni,x\nj,y\n")
    with pytest.raises(DataError, match=r"t\.csv: the id 'i' names two images.*column split"):
        read_truth(tmp_path / "t.csv", ranking)
    apart = Ranking(["h"], ["i", "j"], [[0, 1]], [[2, 1]], sides)
    (tmp_path / "t.csv").write_text("id,label\nh,x\ni,x\nj,y\n")
    assert read_truth(tmp_path / "t.csv", apart).relevant.tolist() == [0]


def test_F05_a_folder_inside_the_other_one_holds_the_same_images():
    ids = np.array(["x.jpg"]), np.array(["query/x.jpg", "x.jpg"])
    inside = {"queries": {"root": "/a/query"}, "gallery": {"root": "/a/"}}
    queries, gallery = compare_ids(*ids, inside)
    assert queries.tolist() == ["query/x.jpg"] and gallery.tolist() == ids[1].tolist()
    outside = {"queries": {"root": "/a/query"}, "gallery": {"root": "/a/quer"}}
    assert compare_ids(*ids, outside) is None


@pytest.mark.parametrize(
    ("queries", "gallery", "differ"),
    [
        ({}, {}, False),
        ({"root": "/a"}, {}, False),
        ({"root": ""}, {"root": "/a"}, False),
        ({"root": "/a"}, {"root": "/a/"}, False),
        ({"root": "/a"}, {"root": "/b"}, True),
        ([{"root": "/a"}, {"root": "/c"}], {"root": "/b"}, True),
        ([{"root": "/a"}, None], {"root": "/b"}, False),
        ({"parents": [{"root": "/a"}, {"root": "/b"}]}, {"parents": [{"root": "/b"}]}, False),
        ({"parents": [{"root": "/a"}, {"root": "/c"}]}, {"parents": [{"root": "/b"}]}, True),
    ],
)
def test_F05_roots_differ_only_where_both_are_known(queries, gallery, differ):
    provenance = {"queries": queries, "gallery": gallery}
    assert roots_differ(provenance) is differ
    fused = {"queries": {}, "gallery": {}, "members": [provenance, provenance]}
    assert roots_differ(fused) is differ


def test_F05_a_query_is_found_again_in_a_gallery_that_was_read_through_a_link(tmp_path):
    (tmp_path / "images" / "query").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "images")
    ids = np.array(["x.jpg"]), np.array(["query/x.jpg", "x.jpg"])
    provenance = {
        "queries": {"root": str(tmp_path / "images")},
        "gallery": {"root": str(tmp_path / "link")},
    }
    assert not roots_differ(provenance)
    provenance["queries"] = {"root": str(tmp_path / "link" / "query")}
    queries, gallery = compare_ids(
        *ids, {**provenance, "gallery": {"root": str(tmp_path / "images")}}
    )
    assert queries.tolist() == ["query/x.jpg"] and gallery.tolist() == ids[1].tolist()


def test_every_link_to_a_file_is_that_file_and_a_copy_is_another(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    image = tmp_path / "a" / "i.jpg"
    image.write_bytes(b"pixels")
    (tmp_path / "soft.jpg").symlink_to(image)
    (tmp_path / "folder").symlink_to(tmp_path / "a")
    (tmp_path / "copy.jpg").write_bytes(b"pixels")
    monkeypatch.chdir(tmp_path)
    same = [Item(path) for path in (str(image), "a/../soft.jpg", "folder/i.jpg", "./a/i.jpg")]
    assert len({file_name(item) for item in same}) == 1
    os.link(image, "hard.jpg")
    assert len({file_name(item) for item in [*same, Item("hard.jpg")]}) == 1
    others = [Item(path) for path in (str(image), "copy.jpg", "gone.jpg", "a/gone.jpg", "b\0")]
    assert len({file_name(item) for item in others}) == 5
    assert is_same_file(same[0], Item("hard.jpg")) and not is_same_file(*others[:2])
    truth = GroundTruth.from_items([Item("hard.jpg", "x")], [Item("soft.jpg", "x"), others[1]])
    assert truth.junk_of(0).tolist() == [0]


def name_by_hand(ids, roots, other_roots, others):
    """Every id as a path below a root of the other side, a twin of `compare_ids`."""
    for name in ids:
        paths = [f"{root}/{name}" for root in sorted(roots)]
        below = [
            path[len(other) + 1 :]
            for other in other_roots
            for path in paths
            if path.startswith(f"{other}/")
        ]
        yield {one for one in below if one in others}


@settings(max_examples=80, deadline=None)
@given(
    st.sets(st.sampled_from(["/a/x", "/a/y", "/a/x/z", "/b/x"]), min_size=1),
    st.sets(st.sampled_from(["/a", "/b", "/c"]), min_size=1, max_size=2),
    st.booleans(),
)
def test_F05_a_side_of_several_roots_below_the_other_one_holds_its_images(inner, outer, swap):
    ids = np.array(["1.jpg", "z/1.jpg", "2.jpg"])
    others = np.array(["x/1.jpg", "y/2.jpg", "1.jpg"])
    sides = [[{"root": root} for root in roots] for roots in (inner, outer)]
    provenance = dict(zip(("queries", "gallery"), sides[:: -1 if swap else 1], strict=True))
    names = compare_ids(*((others, ids) if swap else (ids, others)), provenance)
    by_hand = list(name_by_hand(ids, inner, outer, set(others)))
    nested = any(one.startswith(f"{other}/") for one in inner for other in outer)
    assert (names is not None) is nested
    if names is not None:
        moved, kept = (names.gallery, names.queries) if swap else names
        assert kept.tolist() == others.tolist()
        for name, found in zip(moved.tolist(), by_hand, strict=True):
            assert name in found if found else name not in others


def test_F05_roots_without_their_beginning_are_compared_as_they_stand(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    provenance = {"queries": {"root": "a"}, "gallery": {"root": "./a/"}}
    assert not roots_differ(provenance)
    assert roots_differ({**provenance, "gallery": {"root": "b"}})


def test_F05_items_are_themselves_by_their_file():
    queries = [Item("/q/i.jpg", "x", id="i"), Item("/g/k.jpg", "x", id="other")]
    gallery = [Item("/g/i.jpg", "x", id="i"), Item("/g/./k.jpg", "x", id="k")]
    truth = GroundTruth.from_items(queries, gallery)
    assert truth.relevant_to(0).tolist() == [0, 1] and truth.junk_of(0).tolist() == []
    assert truth.relevant_to(1).tolist() == [0] and truth.junk_of(1).tolist() == [1]


def test_F05_a_distractor_of_another_folder_is_compared_though_it_has_the_name(tmp_path):
    def side(root):
        return Embeddings(["i", "j"], np.eye(2, dtype=np.float32), {"root": root})

    assert measure_likeness(side("/a"), side("/b"), 1).tolist() == [1, 1]
    assert measure_likeness(side("/a"), side("/a"), 1).tolist() == [0, 0]


def test_F05_galleries_of_two_folders_are_not_fused_by_name():
    def rank(root, ids):
        sides = {"queries": {"root": "/q"}, "gallery": {"root": root}}
        return Ranking(["q"], ids, [[0, 1]], [[2, 1]], sides)

    fuse = ReciprocalRank(union=True)
    assert len(fuse([rank("/a", ["i", "j"]), rank("/b", ["k", "l"])]).gallery_ids) == 4
    assert len(fuse([rank("/a", ["i", "j"]), rank("/a", ["i", "l"])]).gallery_ids) == 3
    with pytest.raises(ArtefactError, match="'i', of /a and of /b, and 0 more ids"):
        fuse([rank("/a", ["i", "j"]), rank("/b", ["i", "l"])])


def test_F05_a_table_of_items_knows_images_of_two_folders_apart():
    of = [Kind("train", "/a"), Kind("gallery", "/b"), Kind("query", "/a")]
    ids, codes = np.array([b"i", b"i", b"i"]), np.zeros(3, np.int32)
    table = ItemTable(ids, codes, np.arange(3, dtype=np.uint8), ["x"], of)
    trained = [item.path for item in table.all_trained_on() if item.split == "train"]
    assert trained == ["/a/i", "/b/i"]


@pytest.mark.parametrize(
    "text", ["id,label\n0,x\n1,y\n2,x\n", "id,label,group\n0,x,\n1,y,\n2,x,\n"]
)
def test_F06_row_numbers_of_two_files_need_a_column_split(tmp_path, text):
    (tmp_path / "t.csv").write_text(text)
    for name, rows in (("q", 2), ("g", 3)):
        np.save(tmp_path / f"{name}.npy", np.eye(3, dtype=np.float32)[:rows])
    queries, gallery = (read_side(tmp_path / f"{name}.npy") for name in "qg")
    ranking = retrieve(queries, gallery, "exact(k=3)")[0]
    for one in (ranking, dataclasses.replace(ranking, provenance={})):  # {}: an older file
        with pytest.raises(DataError, match="'0' names two images.*add a column split"):
            read_truth(tmp_path / "t.csv", one)
    itself = retrieve(gallery, gallery, "exact(k=3)")[0]
    assert read_truth(tmp_path / "t.csv", itself).junk.tolist() == [0, 1, 2]


def test_F06_with_a_column_split_no_row_is_taken_for_the_query_itself(tmp_path):
    split = "id,label,split\n0,x,query\n1,y,query\n0,x,gallery\n1,y,gallery\n"
    (tmp_path / "t.csv").write_text(split)
    for name in "qg":
        np.save(tmp_path / f"{name}.npy", np.eye(2, dtype=np.float32))
    sides = [read_side(tmp_path / f"{name}.npy") for name in "qg"]
    ranking = retrieve(*sides, "exact(k=2)")[0]
    for one in (ranking, dataclasses.replace(ranking, provenance={})):
        assert evaluate(one, read_truth(tmp_path / "t.csv", one), ["map()"])[0].value == 1


def test_F45_one_id_with_two_files_is_refused_and_one_file_in_two_splits_is_one_image():
    twice = [Item("/a/i.jpg", "x", split="train", id="i"), Item("/a/i.jpg", split="query", id="i")]
    assert [item.split for item in unique_items(twice, "t.csv")] == ["query"]
    other = [*twice, Item("/a/j.jpg", split="gallery", id="i")]
    with pytest.raises(DataError, match=r"t\.csv: the id 'i' names two .*/a/i\.jpg.*/a/j\.jpg"):
        unique_items(other, "t.csv")
