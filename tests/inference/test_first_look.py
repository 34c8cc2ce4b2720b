"""A first look at a folder: what the page shows and when, and what is embedded again."""

import json
import os
import pathlib
import re
import shutil
import time

import numpy as np
import pytest
import torch
from PIL import Image

import toy
from disk_faults import KINDS, each_stop, names
from fastseek.data.own_images import images_of
from fastseek.errors import DataError, UsageError
from fastseek.inference import first_look
from fastseek.inference.first_look import LookOptions, look_at
from fastseek.inference.first_look.kept_vectors import KeptVectors
from fastseek.inference.pretrained import ImageModel
from fastseek.structures import Embeddings, Ranking


class Network:
    """Every image to its mean color, with one number more; counts what it is shown."""

    def __init__(self, stop=None):
        self.seen, self.stop = 0, stop

    def __call__(self, tensors):
        if self.stop is not None and self.seen >= self.stop:
            raise KeyboardInterrupt
        self.seen += len(tensors)
        mean = torch.cat([tensors.mean((2, 3)), torch.full((len(tensors), 1), 40.0)], dim=1)
        return torch.nn.functional.normalize(mean)


def to_tensor(image):
    return torch.from_numpy(np.asarray(image.resize((8, 8)), np.float32)).permute(2, 0, 1)


def model(stop=None, name="colors"):
    provenance = {"name": name, "model": f"hash of {name}", "preprocessing": {}, "views": []}
    return ImageModel(name, 4, provenance, to_tensor, Network(stop), batch_size=4)


@pytest.fixture
def folder(tmp_path):
    """Ten images in two folders, of five colors."""
    for row in range(10):
        home = tmp_path / "mine" / f"part {row % 2}"
        home.mkdir(parents=True, exist_ok=True)
        color = tuple(np.random.default_rng(row // 2).integers(0, 256, 3).tolist())
        image = Image.new("RGB", (40, 30), color)
        image.putpixel((row, 0), (255, 255, 255))
        image.save(home / f"{row}.png")
    return tmp_path / "mine"


@pytest.fixture
def out(tmp_path):
    return tmp_path / "look"


def answers(page):
    """Query -> its answers, as the page has them."""
    found = {}
    for card in page.read_text().split('<li class="case')[1:]:
        asked, *ids = re.findall(r'data-id="([^"]+)"', card)
        found[asked] = ids
    return found


def embed_all(folder, by):
    """The slow, obvious way to all vectors: id -> vector."""
    paths = sorted(folder.rglob("*.png"))
    return dict(
        zip([p.relative_to(folder).as_posix() for p in paths], by.embed(paths), strict=True)
    )


def check_kept(folder, out, by):
    """What is stored is what embedding all anew would give."""
    stored = Embeddings.load(out / "embeddings", verify=True)
    fresh = embed_all(folder, by)
    assert sorted(stored.ids) == sorted(fresh)
    for name, vector in zip(stored.ids.tolist(), np.asarray(stored.vectors), strict=True):
        np.testing.assert_array_equal(vector, fresh[name])


def test_every_image_has_its_nearest_and_is_no_answer_to_itself(folder, out):
    look = look_at(folder, out, model())
    found = answers(look.page)
    assert len(found) == 10 and all(len(ids) == 9 for ids in found.values())
    vectors = embed_all(folder, model())
    for asked, ids in found.items():
        assert asked not in ids
        nearest = max(set(vectors) - {asked}, key=lambda name: vectors[name] @ vectors[asked])
        assert ids[0] == nearest
    assert (look.images, look.known, look.new, list(look.rejects)) == (10, 10, 10, [])


def test_the_page_is_there_after_the_first_batch_and_renews_itself_until_all_are_there(folder, out):
    first = []
    by = model()
    look = look_at(
        folder, out, by, on_page=lambda page: first.append((page.read_text(), by.network.seen))
    )
    assert len(first) == 1
    text, seen = first[0]
    until = int(re.search(r'<body[^>]* data-renew="3" data-until="(\d+)"', text)[1])
    assert 500 < until - time.time() <= 600  # a page whose process was killed stays as it is
    assert "4 of 10 images so far" in text and seen < 10
    assert (
        not re.search("noscript|data-until", look.page.read_text())
        and "so far" not in look.page.read_text()
    )


def test_the_same_call_again_embeds_nothing(folder, out):
    look_at(folder, out, model())
    by = model()
    page = (out / "answers.html").read_bytes()
    assert look_at(folder, out, by).new == 0 and by.network.seen == 0
    assert (out / "answers.html").read_bytes() == page


def test_new_and_changed_images_alone_are_embedded_and_removed_ones_forgotten(folder, out):
    look_at(folder, out, model())
    Image.new("RGB", (40, 30), "red").save(folder / "new.png")
    Image.new("RGB", (41, 30), "lime").save(folder / "part 0" / "2.png")
    (folder / "part 1" / "1.png").unlink()
    by = model()
    look = look_at(folder, out, by)
    assert by.network.seen == 2 and look.known == 10
    check_kept(folder, out, model())


def test_a_look_that_was_killed_goes_on(folder, out):
    with pytest.raises(KeyboardInterrupt):
        look_at(folder, out, model(stop=8))
    by = model()
    look_at(folder, out, by)
    assert by.network.seen == 2
    check_kept(folder, out, model())


def vectors_of(items, value):
    return [item.id for item in items], np.full((len(items), 4), value, np.float32)


def keep_all(home, items, value, name="colors"):
    """Two saves of what has no vector yet, as a look makes them."""
    kept = KeptVectors(home, {"model": name, "root": "r"}, items)
    missing = [item for item in items if item.id not in kept]
    for part in (missing[:1], missing[1:]):
        if part:
            kept.add(*vectors_of(part, value))
        kept.save()
    return [item.id for item in missing]


def check_names(folder):
    """There are the files of its shards, the manifest and the states, and nothing else."""
    manifest = json.loads((folder / "manifest.json").read_text())
    named = {manifest["ids"]["file"], *(shard["vectors"] for shard in manifest["shards"])}
    assert names(folder) == named | {"manifest.json", "images.json"}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["colors", "another model"])
def test_vectors_are_kept_or_made_again_whatever_fails(folder, tmp_path, monkeypatch, kind, name):
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    items = list(images_of(folder)[0])
    keep_all(tmp_path / "start", items[:6], 1.0)
    Image.new("RGB", (41, 30), "lime").save(items[2].path)
    valid = {item.id for item in items[:5] if item is not items[2] and name == "colors"}
    del items[5]
    again = set()

    def keep(home):
        return keep_all(home, items, 2.0, name)

    for stop in each_stop(tmp_path / "start", keep, kind, every=3):
        shutil.copytree(stop.folder, tmp_path / "others")
        keep_all(tmp_path / "others", items, 2.0, "others")
        check_names(tmp_path / "others")
        shutil.rmtree(tmp_path / "others")
        again.add(len(keep(stop.folder)))
        assert keep_all(stop.folder, items, 3.0, name) == [], stop.where
        stored = Embeddings.load(stop.folder, verify=True)
        assert sorted(stored.ids) == sorted(item.id for item in items), stop.where
        for one, vector in zip(stored.ids.tolist(), np.asarray(stored.vectors), strict=True):
            assert vector.tolist() == [1.0 if one in valid else 2.0] * 4, stop.where
        check_names(stop.folder)
    # What an earlier look has saved is never lost.
    missing = 5 if name == "colors" else 9
    assert missing in again and again <= {0, missing - 1, missing}


@pytest.mark.parametrize("kind", ["killed", "full"])
def test_a_look_stopped_while_it_writes_ends_in_the_same(folder, tmp_path, monkeypatch, kind):
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    for path in sorted(folder.rglob("*.png"))[3:]:
        path.unlink()
    (folder / "bad.png").write_bytes(b"no image")
    look_at(folder, tmp_path / "whole", model())

    def look(home):
        look_at(folder, home, model())

    for stop in each_stop(tmp_path / "out", look, kind, every=9):
        look(stop.folder)
        for name in ("answers.html", "rejects.csv"):
            assert (stop.folder / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
        assert names(stop.folder) == names(tmp_path / "whole"), stop.where


def test_vectors_of_another_model_or_folder_are_not_taken_over(folder, out, tmp_path):
    look_at(folder, out, model())
    by = model(name="others")
    assert look_at(folder, out, by).new == 10
    (tmp_path / "moved").mkdir()
    os.replace(folder, tmp_path / "moved" / "mine")
    assert look_at(tmp_path / "moved" / "mine", out, model(name="others")).new == 10


def test_a_damaged_store_is_made_anew_with_a_warning(folder, out, caplog):
    look_at(folder, out, model())
    toy.flip(next((out / "embeddings").glob("*.vectors.npy")))
    assert look_at(folder, out, model()).new == 10
    assert "anew" in caplog.text
    check_kept(folder, out, model())


def test_embeddings_of_another_command_are_not_touched(folder, out):
    (out / "embeddings").mkdir(parents=True)
    (out / "embeddings" / "store.json").write_text("{}")
    with pytest.raises(UsageError, match="--out"):
        look_at(folder, out, model())
    assert [path.name for path in (out / "embeddings").iterdir()] == ["store.json"]


def test_embeddings_that_were_saved_by_a_program_are_not_touched(folder, out):
    mine = Embeddings(["a"], np.ones((1, 3), np.float32), {"model": "other"})
    mine.save(out / "embeddings")
    before = {path.name: path.read_bytes() for path in (out / "embeddings").iterdir()}
    with pytest.raises(UsageError, match="no `fastseek try` has written"):
        look_at(folder, out, model())
    assert {path.name: path.read_bytes() for path in (out / "embeddings").iterdir()} == before


def test_an_image_of_elsewhere_is_searched_for(folder, out, tmp_path):
    other = tmp_path / "elsewhere" / "0.png"
    other.parent.mkdir()
    Image.open(folder / "part 0" / "4.png").save(other)
    look = look_at(folder, out, model(), [other])
    assert list(answers(look.page)) == ["0.png"]
    assert answers(look.page)["0.png"][0] == "part 0/4.png"
    ranking = Ranking.load(out / "ranking.npz")
    assert ranking.query_ids.tolist() == ["0.png"] and len(ranking.gallery_ids) == 10


def test_F05_an_image_of_elsewhere_called_as_one_of_the_folder_may_find_that_one(
    folder, out, tmp_path
):
    other = tmp_path / "part 0" / "4.png"
    other.parent.mkdir()
    Image.open(folder / "part 0" / "4.png").save(other)
    os.replace(folder / "part 0" / "4.png", folder / "4.png")
    look = look_at(folder, out, model(), [other])
    assert answers(look.page)["4.png"][0] == "4.png"


def test_an_image_of_the_folder_that_is_asked_for_is_no_answer_to_itself(folder, out):
    asked = [folder / "part 0" / "4.png", folder / "part 0" / ".." / "part 0" / "4.png"]
    found = answers(look_at(folder, out, model(), asked).page)
    assert list(found) == ["part 0/4.png"]
    assert (
        found["part 0/4.png"][0] == "part 1/5.png" and "part 0/4.png" not in found["part 0/4.png"]
    )


def test_two_images_of_one_name_are_both_asked_for(folder, out, tmp_path):
    asked = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (9, 9), "red").save(tmp_path / name / "x.png")
        asked.append(tmp_path / name / "x.png")
    assert list(answers(look_at(folder, out, model(), asked).page)) == ["x.png", "x.png (2)"]


def test_an_image_that_is_asked_for_and_cannot_be_read_is_named(folder, out, tmp_path):
    (tmp_path / "bad.jpg").write_text("x")
    with pytest.raises(DataError, match="bad.jpg"):
        look_at(folder, out, model(), [tmp_path / "bad.jpg"])


def test_unreadable_images_are_counted_and_named(folder, out):
    for row in range(7):
        (folder / f"bad {row}.jpg").write_text("x")
    look = look_at(folder, out, model())
    assert look.known == 10 and len(look.rejects) == 7
    told = "7 images could not be read: bad 0.jpg, bad 1.jpg, bad 2.jpg, bad 3.jpg, bad 4.jpg, …"
    assert told in look.page.read_text()
    assert len((out / "rejects.csv").read_text().splitlines()) == 8
    for row in range(7):
        (folder / f"bad {row}.jpg").unlink()
    look_at(folder, out, model())
    assert not (out / "rejects.csv").exists()


def test_a_folder_without_an_image_or_without_one_that_can_be_read_is_refused(tmp_path, out):
    (tmp_path / "empty" / "deep").mkdir(parents=True)
    with pytest.raises(DataError, match="no image found"):
        look_at(tmp_path / "empty", out, model())
    (tmp_path / "empty" / "deep" / "x.jpg").write_text("x")
    with pytest.raises(DataError, match=r"none of the 1 images of empty can be read.*x\.jpg"):
        look_at(tmp_path / "empty", out, model())
    assert not (out / "answers.html").exists()


def test_one_image_makes_a_page_that_says_so(tmp_path, out):
    (tmp_path / "one").mkdir()
    toy.photo(0, 0).save(tmp_path / "one" / "x.jpg")
    text = look_at(tmp_path / "one", out, model()).page.read_text()
    assert "one image only" in text and "nothing was found" in text


def test_more_images_than_the_page_may_hold_are_spread_evenly_and_counted(folder, out):
    look = look_at(folder, out, model(), options=LookOptions(depth=2, queries=3))
    found = answers(look.page)
    assert len(found) == 3 and all(len(ids) == 2 for ids in found.values())
    assert "3 of 10 images stand here as queries" in look.page.read_text()


def test_the_page_tells_no_full_path_and_links_to_the_files(folder, out):
    text = look_at(folder, out, model()).page.read_text()
    assert str(folder) not in text
    links = set(re.findall(r'data-link="([^"]+)"', text))
    assert "../mine/part%200/0.png" in links and len(links) == 10


def test_the_rows_of_the_answers_are_those_of_a_search_without_the_image_itself():
    random = np.random.default_rng(0)
    vectors = random.normal(size=(20, 5)).astype(np.float32)
    vectors[7] = vectors[3]  # twins: each is the other's nearest
    gallery = Embeddings([f"g{row:02d}" for row in range(20)], vectors)
    own = np.array([3, 7, -1, 12])
    asked = Embeddings(list("abcd"), vectors[[3, 7, 0, 12]])
    ranking = first_look.answers.find_answers(asked, gallery, own, 4)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    for row, (me, indices) in enumerate(zip(own, ranking.indices, strict=True)):
        alike = unit @ unit[[3, 7, 0, 12][row]]
        order = [one for one in np.argsort(-alike, kind="stable").tolist() if one != me]
        assert indices.tolist() == order[:4]
    assert find_short(gallery).tolist() == [[-1, -1]]


def find_short(gallery):
    """Of a gallery that is the query itself there is no answer."""
    alone = Embeddings(gallery.ids[:1], gallery.vectors[:1])
    ranking = first_look.answers.find_answers(alone, alone, np.array([0]), 2)
    return np.pad(ranking.indices, ((0, 0), (0, 2 - ranking.indices.shape[1])), constant_values=-1)


def test_every_file_is_below_the_folder_that_was_named(folder, out, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = {path for path in tmp_path.rglob("*")}
    look_at("mine", pathlib.Path("look"), model())
    new = {path for path in tmp_path.rglob("*")} - before
    assert all(path == out or out in path.parents for path in new)
