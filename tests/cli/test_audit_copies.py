"""`fastseek audit duplicates` and `leaks`: planted copies are found, and nothing else."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from fastseek import cli
from fastseek.audit.copies import Copies, cluster_copies, find_copies, find_leaks, find_partners
from fastseek.errors import ArtefactError, UsageError
from fastseek.knn.graph import build_knn_graph
from fastseek.structures import Embeddings

PHOTOS = 24


def texture(number):
    """An image with many corners, unlike all others."""
    pixels = np.random.default_rng(number).integers(0, 256, (14, 14, 3), np.uint8)
    return Image.fromarray(pixels).resize((224, 224), Image.Resampling.BICUBIC)


def look(image):
    """A vector that a mirror does not change and a crop changes little: mean colors of a ring, and
    how they vary.
    """
    small = np.asarray(image.convert("RGB").resize((16, 16), Image.Resampling.BOX), float)
    both = np.concatenate([small, small[:, ::-1]])
    return np.concatenate([np.percentile(both, q, axis=(0, 1)) for q in range(5, 100, 10)])


def vary(image, kind):
    if kind == "crop":
        return image.crop((12, 8, 216, 210))
    if kind == "flip":
        return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return image


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """Images of which every third stands again as a crop, a worse JPEG and a mirror image."""
    home = tmp_path_factory.mktemp("planted")
    (home / "images").mkdir()
    vectors = {}
    for number in range(PHOTOS):
        for kind in ("as-is", "crop", "jpeg", "flip")[: 1 if number % 3 else 4]:
            name = f"{number:02d}-{kind}.{'jpg' if kind == 'jpeg' else 'png'}"
            options = {"quality": 25} if kind == "jpeg" else {}
            vary(texture(number), kind).save(home / "images" / name, **options)
            with Image.open(home / "images" / name) as image:
                vectors[name] = look(image)
    centered = np.array(list(vectors.values()))
    centered -= centered.mean(axis=0)
    provenance = {"root": str(home / "images")}
    Embeddings(list(vectors), centered.astype(np.float32), provenance).save(home / "e")
    return home


def rows_of(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def call(*words):
    cli.call_verb("audit", [str(word) for word in words])


def pairs_of(rows):
    """All pairs that a table of clusters tells."""
    found = set()
    for one in rows:
        found |= {
            frozenset((one["id"], other["id"]))
            for other in rows
            if other["cluster"] == one["cluster"] and other["id"] != one["id"]
        }
    return found


def right_pairs(planted):
    names = sorted(file.name for file in (planted / "images").iterdir())
    return {
        frozenset((one, other))
        for one in names
        for other in names
        if one != other and one[:2] == other[:2]
    }


def test_planted_copies_are_found_and_nothing_else(planted, tmp_path, capsys):
    call(
        *("duplicates", planted / "e", "--out", tmp_path / "d.html", "--least", 0.6),
        *("--images", planted / "images"),
    )
    rows = rows_of(tmp_path / "d.csv")
    found, right = pairs_of(rows), right_pairs(planted)
    assert len(found & right) >= 0.95 * len(right)
    assert len(found & right) >= 0.9 * len(found)
    assert all(float(row["agreement"]) >= 0.75 and float(row["score"]) >= 0.6 for row in rows)
    assert {row["inliers"] for row in rows} == {""}
    assert "clusters of copies" in capsys.readouterr().out
    page = (tmp_path / "d.html").read_text()
    assert "Images that stand more than once" in page and page.count("data:image/jpeg") >= 32


def test_without_a_look_at_the_images_the_threshold_alone_decides(planted, tmp_path):
    call("duplicates", planted / "e", "--out", tmp_path / "d.csv", "--least", 0.999)
    rows = rows_of(tmp_path / "d.csv")
    assert pairs_of(rows) <= right_pairs(planted)
    assert {row["inliers"] + row["agreement"] for row in rows} == {""}


def test_images_at_hand_are_looked_at_unless_one_says_otherwise(planted, tmp_path):
    common = ("duplicates", planted / "e", "--images", planted / "images", "--out")
    call(*common, tmp_path / "looked.csv")
    call(*common, tmp_path / "alone.csv", "--no-verify", "--least", 0.8)
    looked, alone = (pairs_of(rows_of(tmp_path / f"{n}.csv")) for n in ("looked", "alone"))
    assert looked <= alone and looked <= right_pairs(planted)


def test_parts_of_the_graph_give_the_same_table(planted, tmp_path, capsys):
    common = ("duplicates", planted / "e", "--least", 0.9, "--out")
    call(*common, tmp_path / "one.csv")
    call(*common, tmp_path / "two.csv", "--graph", tmp_path / "g", "--part", "1/2")
    told = capsys.readouterr().out
    assert "part 1/2 is made" in told or (tmp_path / "two.csv").exists()
    call(*common, tmp_path / "two.csv", "--graph", tmp_path / "g", "--part", "0/2")
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "two.csv").read_bytes()


def test_images_that_leak_are_told_with_those_they_stand_for(planted, tmp_path, capsys):
    whole = Embeddings.load(planted / "e")
    test = np.flatnonzero([name.endswith("-flip.png") or "01-" in name for name in whole.ids])
    train = np.setdiff1d(np.arange(len(whole)), test)
    for name, rows in (("test", test), ("train", train)):
        Embeddings(whole.ids[rows], whole.vectors[rows], whole.provenance).save(tmp_path / name)
    call(
        *("leaks", tmp_path / "test", tmp_path / "train", "--out", tmp_path / "l.html"),
        *("--least", 0.6, "--images", planted / "images", "--inliers", 15),
    )
    rows = rows_of(tmp_path / "l.csv")
    assert {row["id"] for row in rows} == {f"{n:02d}-flip.png" for n in range(0, PHOTOS, 3)}
    assert all(row["id"][:2] == row["nearest"][:2] for row in rows)
    splits = tmp_path / "splits.csv"
    told = [f"{name},{'test' if row in test else 'train'}" for row, name in enumerate(whole.ids)]
    splits.write_text("id,split\n" + "\n".join(told) + "\n")
    call(
        *("leaks", planted / "e", "--splits", splits, "--out", tmp_path / "s.csv"),
        *("--least", 0.6, "--images", planted / "images", "--verify"),
    )
    pairs = {frozenset((row["id"], row["nearest"])) for row in rows}
    assert {frozenset((row["id"], row["nearest"])) for row in rows_of(tmp_path / "s.csv")} == pairs


def test_wrong_use_is_refused_before_the_work(planted, tmp_path):
    common = ("duplicates", planted / "e", "--out")
    for words, message in (
        ((tmp_path / "d.txt",), r"name a \.csv file"),
        ((tmp_path / "d.csv", "--verify"), "--verify needs --images"),
        ((tmp_path / "d.csv", "--inliers", "9"), "--inliers needs --images"),
        ((tmp_path / "d.csv", "--part", "2/2"), "parts are counted from 0"),
        ((tmp_path / "d.csv", "--part", "0/2"), "--part needs --graph"),
    ):
        with pytest.raises(UsageError, match=message):
            call(*common, *words)
    with pytest.raises(UsageError, match="give a second folder"):
        call("leaks", planted / "e", "--out", tmp_path / "l.csv")
    (tmp_path / "mine.csv").write_text("my,own,table\n")
    with pytest.raises(UsageError, match="is no table of FastSeek"):
        call(*common, tmp_path / "mine.csv")
    manifest = json.loads((planted / "e" / "manifest.json").read_text())
    assert manifest  # the input is as it was
    other = Embeddings([f"x{n}" for n in range(9)], np.eye(9, dtype=np.float32))
    build_knn_graph(other, 3, tmp_path / "g")
    with pytest.raises(ArtefactError, match="name another folder"):
        call(*common, tmp_path / "d.csv", "--graph", tmp_path / "g")


def test_pairs_are_those_of_brute_force_each_once():
    random = np.random.default_rng(0)
    vectors = random.standard_normal((40, 3)).astype(np.float32)
    some = Embeddings(np.arange(40).astype(str), vectors)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = unit @ unit.T
    found = find_copies(build_knn_graph(some, 39), 0.8)
    right = {(i, j) for i in range(40) for j in range(i + 1, 40) if cosines[i, j] >= 0.8}
    assert set(zip(found.first.tolist(), found.second.tolist(), strict=True)) == right
    assert len(found) == len(right)
    leaks = find_leaks(some, some, 40, 0.8)
    assert len(leaks) == 2 * len(right) + 40


def test_clusters_are_connected_pairs_and_a_partner_is_the_nearest():
    copies = Copies(
        np.array([0, 2, 2]),
        np.array([1, 3, 5]),
        np.array([0.9, 0.8, 0.95], np.float32),
        -np.ones(3),
        np.full(3, np.nan, np.float32),
    )
    assert [one.tolist() for one in cluster_copies(copies, 7)] == [[2, 3, 5], [0, 1]]
    partner, pair = find_partners(copies, 7)
    assert partner.tolist() == [1, 0, 5, 2, -1, 2, -1]
    assert pair.tolist() == [0, 0, 2, 1, -1, 2, -1]
