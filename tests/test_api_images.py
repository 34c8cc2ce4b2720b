"""The Python API on images: embed them, and search with them."""

import shutil

import numpy as np
import pytest
from PIL import Image

import fastseek as fs
import toy
from fastseek.errors import DataError, UsageError
from fastseek.inference.pretrained import in_memory


@pytest.fixture(scope="module")
def model():
    """The default network, at a size that takes a moment."""
    return fs.load_model("default", size=64)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Six images, in two folders of one."""
    root = tmp_path_factory.mktemp("images")
    for label in range(2):
        (root / f"c{label}").mkdir()
        for shot in range(3):
            toy.photo(label, shot).resize((80, 64)).save(root / f"c{label}" / f"{shot}.png")
    return root


@pytest.fixture(scope="module")
def gallery(model, folder):
    return fs.embed(folder, model)


def test_a_folder_a_table_a_list_and_images_in_memory_give_the_same_vectors(
    model, folder, gallery, tmp_path
):
    assert gallery.ids.tolist() == [f"c{n}/{shot}.png" for n in range(2) for shot in range(3)]
    assert gallery.provenance["root"] == str(folder)
    files = [folder / name for name in gallery.ids.tolist()]
    table = tmp_path / "images.csv"
    table.write_text("path\n" + "".join(f"{file}\n" for file in files))
    kept = fs.embed(folder, model, out=tmp_path / "kept")
    drawn = fs.embed([Image.open(file) for file in files], model)
    for other in (fs.embed(files, model), fs.embed(table, model), kept, drawn):
        assert np.array_equal(np.asarray(other.vectors), gallery.vectors)
        assert other.provenance["model"] == gallery.provenance["model"]
    assert drawn.ids.tolist() == list("012345")
    assert fs.embed(files, model).ids.tolist() == gallery.ids.tolist()
    assert np.array_equal(fs.load_embeddings(tmp_path / "kept").ids, gallery.ids)


def test_queries_may_be_an_image_its_file_or_several(folder, gallery):
    file = folder / "c1" / "2.png"
    for query in (file, str(file), [file], Image.open(file), [Image.open(file)]):
        ranking = fs.search(query, gallery, k=2)
        assert ranking.indices.shape == (1, 2)
        assert next(ranking.rows()).id == "c1/2.png"
    several = fs.search([file, folder / "c0" / "0.png"], gallery, k=1)
    assert [row.id for row in several.rows()] == ["c1/2.png", "c0/0.png"]


def test_a_ranking_of_an_image_is_reranked_with_the_image(folder, gallery):
    call = "k_reciprocal(k1=3, k2=1)"
    ranking = fs.search(folder / "c0" / "1.png", gallery)
    after = fs.rerank(ranking, folder / "c0" / "1.png", gallery, call)
    at_once = fs.search(folder / "c0" / "1.png", gallery, rerank=call)
    assert np.array_equal(after.indices, at_once.indices)


def test_an_image_of_a_folder_below_is_itself_in_the_gallery(folder, gallery):
    ranking = fs.search([folder / "c1" / "2.png"], gallery)
    labels = ["c1"], [name[:2] for name in gallery.ids.tolist()]
    [score] = fs.evaluate(ranking, labels, "map(2)")
    assert score.protocol["self_match"] == "junk" and score.protocol["counted"] == 1


def test_a_model_run_in_its_own_way_is_run_so_again_for_queries(folder):
    mean = fs.embed(folder, fs.load_model("default", pooling="gem", size=96))
    found = fs.search(folder / "c0" / "1.png", mean, k=1)
    assert next(found.rows()).score == pytest.approx(1, abs=1e-5)
    assert found.provenance["queries"]["preprocessing"] == mean.provenance["preprocessing"]


def test_what_cannot_be_embedded_is_refused_and_named(model, folder, gallery, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no image")
    Image.new("RGB", (8, 8)).save(tmp_path / "good.png")
    with pytest.raises(fs.DataError, match=r"bad\.png: UNKNOWN_FORMAT.*1 of 2 images"):
        fs.embed(tmp_path, model)
    kept = fs.embed(tmp_path, model, out=tmp_path / "kept")
    assert kept.ids.tolist() == ["good.png"] and (tmp_path / "kept" / "rejects.csv").exists()
    for images in ([], 7, [1, 2], [folder, Image.new("RGB", (8, 8))], {"a": folder}):
        with pytest.raises(fs.UsageError, match="images: expected a folder"):
            fs.embed(images, model)
    with pytest.raises(fs.UsageError, match="leave out `out`"):
        fs.embed([Image.new("RGB", (8, 8))], model, out=tmp_path / "x")
    with pytest.raises(fs.DataError, match="gone"):
        fs.embed(tmp_path / "gone", model)
    with pytest.raises(fs.UsageError, match="no model is called 'defualt'"):
        fs.embed(folder, "defualt")
    bare = fs.Embeddings(gallery.ids, gallery.vectors)
    with pytest.raises(fs.DataError, match="gallery: made by a recipe or by another program"):
        fs.search(folder / "c0" / "1.png", bare)


def test_a_file_that_is_named_twice_is_told_before_anything_is_embedded(folder, monkeypatch):
    monkeypatch.setattr(in_memory, "embed_batches", None)
    files = sorted((folder / "c0").iterdir())
    again = folder / "c1" / ".." / "c0" / files[1].name
    with pytest.raises(fs.DataError, match=r"c0/1\.png: is file 2 and file 4 of the list"):
        fs.embed([*files, again], object())


def test_an_index_takes_images_embeds_each_once_and_finds_them(model, folder, tmp_path):
    images = tmp_path / "images"
    shutil.copytree(folder, images)
    with fs.Index.create(tmp_path / "index") as index:
        assert index.add_images(images / "c0", model).embedded == 3
        Image.new("RGB", (64, 64), "red").save(images / "c0" / "new.png")
        done = index.add_images(images / "c0", model)
        assert (done.embedded, done.known) == (1, 3) and len(index) == 4
        assert index.delete(["0.png"]) == 1
    with fs.Index.open(tmp_path / "index") as index:
        # The model is known by its name and run as it was, at its size of 64.
        ranking = index.search_images(images / "c0" / "new.png", k=2)
        assert next(ranking.rows())[:3] == ("new.png", 1, "new.png")
        assert "0.png" not in index.ids.tolist()
        assert np.array_equal(
            ranking.indices, index.search_images([Image.open(images / "c0/new.png")], 2).indices
        )
        Image.new("RGB", (64, 64), "blue").save(images / "c0" / "new.png")
        with pytest.raises(fs.DataError, match="with another content"):
            index.add_images(images / "c0")
        assert index.upsert_images(images / "c0").replaced == 1
        with pytest.raises(fs.UsageError, match="is made for the model default, not timm:x"):
            index.upsert_images(images / "c1", "timm:x")


def test_an_index_of_vectors_of_nobody_takes_images_by_a_model_that_is_named(
    folder, gallery, tmp_path
):
    with fs.Index.create(tmp_path / "index") as index:
        index.add(gallery.ids, gallery.vectors)
        with pytest.raises(fs.UsageError, match="in Python with model="):
            index.search_images(folder / "c0" / "0.png")
        with pytest.raises(fs.UsageError, match="in Python with model="):
            index.add_images(folder / "c0")
        ranking = index.search_images(folder / "c0" / "0.png", k=1, model="default")
        assert ranking.indices.shape == (1, 1)
        index.delete(gallery.ids)
        assert index.add_images(folder / "c0", "default").embedded == 3
    with fs.Index.create(tmp_path / "short") as index:
        index.add(["a"], np.ones((1, 4), np.float32))
        with pytest.raises(fs.ArtefactError, match="1280 dimensions"):
            index.search_images(folder / "c0" / "0.png", model="default")


def test_where_nothing_is_new_an_index_loads_no_model(model, folder, tmp_path, monkeypatch):
    with fs.Index.create(tmp_path / "index") as index:
        index.add_images(folder / "c0", model)
        monkeypatch.setattr(in_memory, "load_kept", None)
        assert index.add_images(folder / "c0").known == 3


def test_what_is_no_image_and_what_is_not_there_are_told_as_such(monkeypatch):
    model = object()
    for given, told in ((5, "got int"), (None, "got NoneType"), (b"x", "got bytes")):
        with pytest.raises(UsageError, match=told):
            fs.embed(given, model)
    with pytest.raises(DataError, match="nosuch.d not found: name a folder"):
        fs.embed("nosuch.d", model)
