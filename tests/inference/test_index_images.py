"""Images into an index: only what is not known is embedded."""

import dataclasses
import os
import shutil

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from fastseek.cli import call_verb
from fastseek.data.own_images import images_of
from fastseek.errors import ArtefactError, DataError, UsageError
from fastseek.index import Index
from fastseek.inference.index_images import Arrival, embed_queries, put, put_images
from fastseek.inference.pretrained import ImageModel, in_memory, load_model
from fastseek.structures import Embeddings


class Counted:
    """A network that counts what it sees: the mean colors of a grid."""

    def __init__(self):
        self.seen = 0

    def __call__(self, tensors):
        self.seen += len(tensors)
        return torch.nn.functional.normalize(tensors.flatten(1).float() + 1)


def thumbnail(image):
    return torch.from_numpy(np.array(image.convert("RGB").resize((4, 4))))


def make_model(name="toy", weights="w1"):
    provenance = {"name": name, "model": weights, "preprocessing": {"size": 4}, "views": []}
    return ImageModel(name, 48, provenance, thumbnail, Counted())


@pytest.fixture
def model(monkeypatch):
    made = make_model()

    def load(name, options):
        if name != "toy":
            return make_model(name, name)
        return made

    monkeypatch.setattr(in_memory, "load_kept", load)
    return made


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    for number in range(6):
        draw_image(folder / "ab"[number % 2] / f"{number}.png", number)
    return folder


def draw_image(path, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    Image.fromarray(pixels).save(path)


def run(line, *more):
    call_verb("index", [*line.split(), *map(str, more)])


def test_adding_one_image_embeds_one_image(tmp_path, images, model, capsys):
    run(f"create --out {tmp_path}/i --model toy")
    run(f"add {tmp_path}/i --images", images)
    assert model.network.seen == 6
    draw_image(images / "a" / "new.png", 99)
    run(f"add {tmp_path}/i --images", images)
    assert model.network.seen == 7
    assert (
        "1 image embedded and put in; 6 were there already; 7 are there" in capsys.readouterr().out
    )
    index = Index.open(tmp_path / "i")
    assert index.ids.tolist() == [
        "a/0.png",
        "a/2.png",
        "a/4.png",
        "a/new.png",
        *(f"b/{n}.png" for n in (1, 3, 5)),
    ]
    assert index.metadata(["a/new.png"])["path"] == [str(images / "a" / "new.png")]


def test_where_nothing_is_new_no_model_is_loaded(tmp_path, images, model, monkeypatch, capsys):
    run(f"create --out {tmp_path}/i --model toy")
    run(f"add {tmp_path}/i --images", images)
    monkeypatch.setattr(in_memory, "load_kept", None)
    run(f"add {tmp_path}/i --images", images)
    assert "0 images embedded and put in; 6 were there already" in capsys.readouterr().out


def test_later_images_and_queries_are_embedded_as_the_first_ones_were(tmp_path, images, capsys):
    torch.manual_seed(0)
    save_file(timm.create_model("test_vit").state_dict(), tmp_path / "net.safetensors")
    name = f"timm:test_vit@{tmp_path}/net.safetensors"
    run(f"create --out {tmp_path}/i --model {name}")
    run(f"add {tmp_path}/i --pooling mean --size 64 --images", images)
    draw_image(images / "a" / "new.png", 99)
    run(f"add {tmp_path}/i --images", images)
    capsys.readouterr()
    run(f"search {tmp_path}/i -k 1 --images", images / "a" / "new.png")
    assert capsys.readouterr().out.splitlines()[-1].split() == ["1", "1.0000", "a/new.png"]
    with pytest.raises(ArtefactError, match="differ in preprocessing"):
        run(f"search {tmp_path}/i --pooling cls --images", images)


def test_an_index_made_for_a_model_by_a_relative_path_is_used_from_any_folder(
    tmp_path, images, monkeypatch
):
    torch.manual_seed(0)
    save_file(timm.create_model("test_vit").state_dict(), tmp_path / "net.safetensors")
    monkeypatch.chdir(tmp_path)
    run("create --out i --model timm:test_vit@net.safetensors")
    monkeypatch.chdir(images)
    run(f"add {tmp_path}/i --images", images / "a")
    run(f"add {tmp_path}/i --model timm:test_vit@../net.safetensors --images", images)
    run(f"search {tmp_path}/i --images", images)
    with pytest.raises(UsageError, match="is made for the model"):
        run(f"search {tmp_path}/i --model timm:test_vit --images", images)


def test_device_and_engine_that_are_asked_for_count_where_the_index_was_made_in_another_way(
    tmp_path, images, monkeypatch
):
    torch.manual_seed(0)
    save_file(timm.create_model("test_vit").state_dict(), tmp_path / "net.safetensors")
    run(f"create --out {tmp_path}/i --model timm:test_vit@{tmp_path}/net.safetensors")
    run(f"add {tmp_path}/i --pooling mean --size 64 --images", images)
    asked = []

    def watch(name, options):
        asked.append(options)
        return load_model(name, options)

    monkeypatch.setattr(in_memory, "load_kept", watch)
    run(f"search {tmp_path}/i --device cpu --engine eager --images", images)
    assert [(one.pooling, one.size) for one in asked] == [("", 0), ("mean", 64)]
    assert {(one.device, one.engine) for one in asked} == {("cpu", "eager")}


def test_a_changed_image_is_refused_by_add_and_replaced_by_upsert(tmp_path, images, model, capsys):
    run(f"create --out {tmp_path}/i --model toy")
    run(f"add {tmp_path}/i --images", images)
    draw_image(images / "a" / "2.png", 77)
    with pytest.raises(DataError, match="1 of 6 ids are there with another content, such as 'a/2"):
        run(f"add {tmp_path}/i --images", images)
    assert model.network.seen == 6
    run(f"upsert {tmp_path}/i --images", images)
    assert model.network.seen == 7 and "1 of them replaced; 5 were" in capsys.readouterr().out
    found = Index.open(tmp_path / "i").search(model.embed([images / "a" / "2.png"]), 1)
    assert found.gallery_ids.tolist() == ["a/2.png"] and found.scores[0, 0] > 0.99999


def test_vectors_put_in_without_their_images_are_told_as_such_and_replaced_by_upsert(
    tmp_path, images, model, capsys
):
    files = sorted(images.rglob("*.png"))
    ids = [file.relative_to(images).as_posix() for file in files]
    Embeddings(ids, model.embed(files), model.provenance).save(tmp_path / "e")
    run(f"create --out {tmp_path}/i")
    run(f"add {tmp_path}/i --embeddings {tmp_path}/e")
    message = "6 of 6 ids are there as vectors put in without their images, such as 'a/0.png': ups"
    with pytest.raises(DataError, match=message):
        run(f"add {tmp_path}/i --images", images)
    run(f"upsert {tmp_path}/i --images", images)
    assert "6 of them replaced" in capsys.readouterr().out


def keep_vectors(folder, images, model):
    """Vectors of all images as `fastseek embed` writes them, a second after the images."""
    files = sorted(images.rglob("*.png"))
    ids = [file.relative_to(images).as_posix() for file in files]
    provenance = {**model.provenance, "root": str(images)}
    Embeddings(ids, model.embed(files), provenance).save(folder)
    for file in files:
        os.utime(file, (1, 1))
    for file in folder.glob("*.npy"):
        os.utime(file, (2e9, 2e9))
    model.network.seen = 0


@pytest.mark.parametrize("prefix", ["", "shop2/"])
def test_images_with_vectors_that_were_made_before_are_not_embedded_again(
    tmp_path, images, model, capsys, prefix
):
    keep_vectors(tmp_path / "e", images, model)
    draw_image(images / "a" / "new.png", 99)
    changed, late = images / "a" / "0.png", 3e9
    draw_image(changed, 77)
    os.utime(changed, (late, late))
    run(f"create --out {tmp_path}/i --model toy")
    more = ["--images", images, "--embeddings", tmp_path / "e", "--prefix", prefix]
    run(f"add {tmp_path}/i", *more)
    told = capsys.readouterr().out
    # That which came later and that which has changed since: the others have theirs.
    assert model.network.seen == 2 and "2 images embedded and put in; 5 images put in with" in told
    index, whole = Index.open(tmp_path / "i"), Index.create(tmp_path / "w")
    put_images(whole, Arrival(images, prefix=prefix), model)
    assert index.ids.tolist() == whole.ids.tolist() and len(index) == 7
    assert index.metadata(index.ids) == whole.metadata(index.ids)
    assert np.array_equal(index.vectors(index.ids).vectors, whole.vectors(index.ids).vectors)
    assert index.provenance == whole.provenance
    run(f"add {tmp_path}/i", *more)
    assert "0 images embedded" in (told := capsys.readouterr().out) and "7 were there" in told


def test_an_index_of_bare_vectors_learns_its_images_without_embedding_them(
    tmp_path, images, model, monkeypatch, capsys
):
    keep_vectors(tmp_path / "e", images, model)
    run(f"create --out {tmp_path}/i")
    run(f"add {tmp_path}/i --embeddings {tmp_path}/e")
    monkeypatch.setattr(in_memory, "load_kept", None)
    run(f"upsert {tmp_path}/i --embeddings {tmp_path}/e --images", images)
    assert "6 of them replaced" in capsys.readouterr().out
    run(f"add {tmp_path}/i --images", images)
    assert "6 were there already" in capsys.readouterr().out


def test_vectors_of_other_images_are_refused(tmp_path, images, model):
    keep_vectors(tmp_path / "e", images, model)
    shutil.copytree(images, tmp_path / "others")
    np.save(tmp_path / "bare.npy", np.ones((6, 48), np.float32))
    run(f"create --out {tmp_path}/i --model toy")
    with pytest.raises(UsageError, match=r"its vectors are of .*images, not of .*others"):
        run(f"add {tmp_path}/i --embeddings {tmp_path}/e --images {tmp_path}/others")
    with pytest.raises(UsageError, match="images whose folder it does not tell"):
        run(f"add {tmp_path}/i --embeddings {tmp_path}/bare.npy --images", images)
    assert len(Index.open(tmp_path / "i")) == model.network.seen == 0


class Engines:
    """Two engines that are the same network; from five images on the second is taken."""

    def __init__(self, network):
        self.network, self.built = network, []

    def choose(self, count):
        return "onnx" if count >= 5 else "eager"

    def build(self, name):
        self.built.append(name)
        return self.network


def test_every_engine_that_ran_the_model_is_told_and_answers_queries_of_any(
    tmp_path, images, model
):
    engines = Engines(model.network)
    both = dataclasses.replace(
        model, engines=engines, provenance={**model.provenance, "engine": "eager"}
    )
    index = Index.create(tmp_path / "i")
    put_images(index, Arrival(images), both)
    assert index.provenance["engine"] == "onnx" and engines.built == ["onnx"]
    draw_image(images / "a" / "new.png", 99)
    put_images(index, Arrival(images), both)
    assert index.provenance["engine"] == "eager, onnx" and engines.built == ["onnx", "eager"]
    queries, _, _ = embed_queries(images / "a" / "new.png", both)
    assert queries.provenance["engine"] == "eager"
    assert index.search(queries, 1).gallery_ids.tolist() == ["a/new.png"]
    items, root = images_of(images)
    assert in_memory.embed_in_memory(both, items, root).provenance["engine"] == "onnx"


def test_what_cannot_be_read_is_named_and_the_rest_is_put_in(tmp_path, images, model, capsys):
    (images / "b" / "3.png").write_bytes(b"no image")
    run(f"create --out {tmp_path}/i --model toy")
    run(f"add {tmp_path}/i --images", images)
    assert (
        "5 images embedded" in (told := capsys.readouterr().out) and "1 could not be read" in told
    )
    rejects = (tmp_path / "i" / "rejects.csv").read_text().splitlines()
    assert len(rejects) == 2 and "b/3.png" in rejects[1]


def test_images_are_put_in_by_the_chunk_so_that_a_kill_costs_one(
    tmp_path, images, model, monkeypatch
):
    monkeypatch.setattr(put, "CHUNK", 2)
    small = ImageModel(**{**vars(model), "batch_size": 2})
    index = Index.create(tmp_path / "i")
    real, calls = index.add, []

    def dying(*args):
        calls.append(args)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(index, "add", dying)
    with pytest.raises(KeyboardInterrupt):
        put_images(index, Arrival(images), small)
    again = Index.open(tmp_path / "i")
    assert len(again) == 4 and again.check() == []
    done = put_images(again, Arrival(images), small)
    assert (done.embedded, done.known) == (2, 4)


def test_queries_are_embedded_by_the_model_of_the_index(tmp_path, images, model, capsys):
    run(f"create --out {tmp_path}/i --model toy")
    run(f"add {tmp_path}/i --images", images)
    run(f"search {tmp_path}/i -k 2 --images", images / "b" / "3.png")
    lines = capsys.readouterr().out.splitlines()[-3:]
    assert lines[0] == "3.png" and lines[1].split() == ["1", "1.0000", "b/3.png"]
    with pytest.raises(UsageError, match="is made for the model toy, not other"):
        run(f"search {tmp_path}/i --model other --images", images)


def test_another_model_of_the_same_name_is_refused(tmp_path, images, model, monkeypatch):
    run(f"create --out {tmp_path}/i --model toy")
    run(f"add {tmp_path}/i --images", images)
    monkeypatch.setattr(in_memory, "load_kept", lambda *_: make_model("toy", "w2"))
    draw_image(images / "a" / "new.png", 99)
    with pytest.raises(ArtefactError, match="differ in model"):
        run(f"add {tmp_path}/i --images", images)


def test_an_index_that_knows_no_model_asks_for_one(tmp_path, images, model):
    run(f"create --out {tmp_path}/i")
    with pytest.raises(UsageError, match="name it with --model"):
        run(f"add {tmp_path}/i --images", images)
    run(f"add {tmp_path}/i --model toy --images", images)
    run(f"add {tmp_path}/i --prefix again/ --images", images)
    index = Index.open(tmp_path / "i")
    assert len(index) == 12 and "root" not in index.provenance
    assert index.provenance["name"] == "toy"


def test_metadata_goes_in_beside_images_and_is_renewed_without_embedding(tmp_path, images, model):
    table = tmp_path / "t.csv"
    table.write_text("path,price,shop\na/0.png,3,north\nb/1.png,,south\n")
    run(f"create --out {tmp_path}/i --model toy")
    run(f"add {tmp_path}/i --metadata {table} --images", images)
    index = Index.open(tmp_path / "i")
    assert index.columns == {"price": "number", "shop": "text", "path": "text", "content": "text"}
    assert index.select("price == 3").tolist() == ["a/0.png"]
    table.write_text("path,price\na/0.png,4\n")
    run(f"upsert {tmp_path}/i --metadata {table} --images", images)
    run(f"upsert {tmp_path}/i --metadata {table}")
    index.refresh()
    assert index.metadata(["a/0.png"], ["price", "shop"]) == {"price": [4], "shop": ["north"]}
    assert model.network.seen == 6
    table.write_text("path,price\nzebra.png,4\n")
    with pytest.raises(
        DataError, match="1 of 1 rows are of no image that is put in, such as 'zebra"
    ):
        run(f"upsert {tmp_path}/i --metadata {table} --images", images)


def test_an_answer_is_a_page_with_the_images_that_may_be_shown(tmp_path, images, model):
    run(f"create --out {tmp_path}/i --model toy")
    run(f"add {tmp_path}/i --images", images)
    search = f"search {tmp_path}/i -k 2 --images {images}/a/0.png --out"
    run(f"{search} {tmp_path}/without.html")
    run(f"{search} {tmp_path}/a.html --show {images}/a")
    run(f"{search} {tmp_path}/all.html --show {images}")
    sizes = [
        (tmp_path / name).read_text().count("data:image/jpeg")
        for name in ("without.html", "a.html", "all.html")
    ]
    assert sizes[0] < sizes[2] and sizes[0] <= sizes[1] <= sizes[2]
    shutil.rmtree(images / "b")
    run(f"{search} {tmp_path}/all.html --show {images}")
    with pytest.raises(UsageError, match="in a page only"):
        run(f"{search} {tmp_path}/a.csv --show {images}")


def test_queries_have_their_files_by_id(images, model):
    asked, files, rejects = embed_queries(images, model)
    assert not rejects
    assert len(asked) == 6 and files["a/0.png"] == str(images / "a" / "0.png")


def test_queries_that_cannot_be_read_are_told_and_the_others_are_answered(
    tmp_path, images, model, capsys
):
    run(f"create --out {tmp_path}/i --model toy")
    run(f"add {tmp_path}/i --images", images)
    (images / "a" / "bad.png").write_bytes(b"no image")
    capsys.readouterr()
    run(f"search {tmp_path}/i -k 1 --images {images}")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 13 and lines[-1] == "1 image could not be read: bad.png (of 7 queries)"
    run(f"search {tmp_path}/i -k 1 --images {images} --out {tmp_path}/a.csv")
    assert "1 image could not be read: bad.png (of 7 queries)" in capsys.readouterr().out
    (tmp_path / "only").mkdir()
    (images / "a" / "bad.png").rename(tmp_path / "only" / "bad.png")
    with pytest.raises(DataError, match="none of 1 queries can be read"):
        run(f"search {tmp_path}/i -k 1 --images {tmp_path}/only")


def test_names_that_would_steer_the_terminal_are_spelled_out(tmp_path, images, model, capsys):
    (images / "a" / "0.png").rename(images / "a" / "\x1b[31m\u202ered\n.png")
    run(f"create --out {tmp_path}/i --model toy")
    run(f"add {tmp_path}/i --images", images)
    capsys.readouterr()
    run(f"search {tmp_path}/i -k 1 --images {images}")
    told = capsys.readouterr().out
    assert "\x1b" not in told and "\u202e" not in told and len(told.splitlines()) == 12
    assert told.count(r"a/\x1b[31m\u202ered\n.png") == 2


def test_an_index_is_migrated_to_another_model_by_the_files_it_remembers(
    tmp_path, images, model, monkeypatch, capsys
):
    from fastseek.inference import pretrained

    other = make_model("other", "w2")
    monkeypatch.setattr(pretrained, "load_model", lambda *_: other)
    run(f"create --out {tmp_path}/i --model toy")
    run(f"add {tmp_path}/i --images", images)
    run(f"migrate {tmp_path}/i --model other --dry-run")
    assert "6 of 6 images to embed" in capsys.readouterr().out
    images.rename(tmp_path / "moved")
    run(f"migrate {tmp_path}/i --model other --dry-run")
    assert "the files of 6 are not there" in capsys.readouterr().out
    with pytest.raises(DataError, match="6 images cannot be embedded anew"):
        run(f"migrate {tmp_path}/i --model other")
    run(f"migrate {tmp_path}/i --model other --images {tmp_path}/moved -k 2")
    assert other.network.seen == 6 and "overlap@2 1.0 of old and new" in capsys.readouterr().out
    assert Index.open(tmp_path / "i").provenance["model"] == "w2"
