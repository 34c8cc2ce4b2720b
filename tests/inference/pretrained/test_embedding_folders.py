"""Pretrained models and folders on disk: resumed, refused, rejected."""

import numpy as np
import pytest
import timm
from PIL import Image
from safetensors.torch import save_file

from fastseek.errors import ArtefactError, DataError, UsageError
from fastseek.inference.pretrained import ModelOptions, embed_images, load_model
from fastseek.structures import embedding_job
from fastseek.structures.provenance import check_same_model

NETWORK = "test_vit"


@pytest.fixture(scope="module")
def name(tmp_path_factory):
    return save_network(tmp_path_factory.mktemp("weights"), NETWORK)


def save_network(folder, network, seed=0, **options):
    """A network of chance as a file, by the name it is asked for."""
    import torch

    torch.manual_seed(seed)
    net = timm.create_model(network, **options)
    file = folder / f"{network}-{seed}.safetensors"
    save_file(net.state_dict(), file)
    return f"timm:{network}@{file}"


@pytest.fixture(scope="module")
def model(name):
    return load_model(name, ModelOptions(size=64))


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(7):
        pixels = random.integers(0, 256, (40, 50, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    (folder / "4.png").write_bytes(b"no image")
    return folder


def files_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "store.json"}


def test_a_folder_becomes_vectors_and_what_cannot_be_read_is_named(model, images, tmp_path):
    found = embed_images(model, images, tmp_path / "out")
    assert found.ids.tolist() == [f"{number}.png" for number in (0, 1, 2, 3, 5, 6)]
    assert np.array_equal(found.vectors, model.embed([images / one for one in found.ids]))
    rejects = (tmp_path / "out/rejects.csv").read_text().splitlines()
    assert len(rejects) == 2 and "4.png" in rejects[1] and "UNKNOWN_FORMAT" in rejects[1]
    assert found.provenance["root"] == str(images)


def test_an_image_given_by_name_that_cannot_be_read_is_named(model, images):
    with pytest.raises(DataError, match=r"4\.png: UNKNOWN_FORMAT"):
        model.embed([images / "0.png", images / "4.png"])
    with pytest.raises(DataError, match=r"nobody\.png: MISSING"):
        model.embed([images / "nobody.png"])


def test_images_of_pillow_and_their_files_give_one_vector(model, images):
    file = images / "1.png"
    assert np.array_equal(model.embed([file]), model.embed([Image.open(file)]))
    assert model.embed([]).shape == (0, model.dim)


@pytest.mark.parametrize("threads", [1, 5])
def test_the_number_of_threads_changes_no_byte(model, images, tmp_path, threads):
    embed_images(model, images, tmp_path / "one", threads=1)
    embed_images(model, images, tmp_path / "other", threads=threads)
    assert files_of(tmp_path / "one") == files_of(tmp_path / "other")


def test_a_killed_run_goes_on_and_leaves_the_same_bytes(model, images, tmp_path, monkeypatch):
    monkeypatch.setattr(embedding_job, "STEP", 2)
    embed_images(model, images, tmp_path / "whole")

    class Killed(Exception):
        pass

    told = []

    def stop(ids, vectors):
        told.extend(ids)
        if len(told) >= 4:
            raise Killed

    import dataclasses

    small = dataclasses.replace(model, batch_size=2)
    embed_images(small, images, tmp_path / "twin")
    with pytest.raises(Killed):
        embed_images(small, images, tmp_path / "out", watch=stop)
    assert not (tmp_path / "out/manifest.json").exists()
    seen = []
    embed_images(small, images, tmp_path / "out", watch=lambda ids, _: seen.extend(ids))
    assert "0.png" not in seen and seen[-1] == "6.png"
    assert files_of(tmp_path / "out") == files_of(tmp_path / "twin")


def test_a_folder_of_another_model_pooling_or_size_is_refused(model, name, images, tmp_path):
    embed_images(model, images, tmp_path / "out")
    stranger = load_model(save_network(tmp_path, NETWORK, seed=1), ModelOptions(size=64))
    pooled = load_model(name, ModelOptions(size=64, pooling="mean"))
    larger = load_model(name, ModelOptions(size=96))
    stored = embed_images(model, images, tmp_path / "out")
    for other, key in ((stranger, "model"), (pooled, "preprocessing"), (larger, "preprocessing")):
        with pytest.raises(ArtefactError, match="holds other embeddings"):
            embed_images(other, images, tmp_path / "out")
        found = embed_images(other, images, tmp_path / f"{key}{other.dim}{id(other)}")
        with pytest.raises(ArtefactError, match=f"differ in {key}"):
            check_same_model(found, stored)


@pytest.mark.parametrize(
    "name, told",
    [
        ("nobody", "no model is called 'nobody'"),
        ("timm:vit_tiny_patch16_24@x", "near it: vit_"),
        ("timm:resnet18.nobody@x", "no weights 'nobody' of resnet18; it has a1_in1k"),
    ],
)
def test_a_name_that_is_none_is_told_with_what_there_is(name, told):
    with pytest.raises(UsageError, match=told):
        load_model(name)


def test_weights_of_another_network_are_refused_by_their_names(tmp_path):
    file = save_network(tmp_path, "test_resnet").partition("@")[2]
    with pytest.raises(ArtefactError, match="do not fit test_vit: .*Missing key"):
        load_model(f"timm:test_vit@{file}")


@pytest.mark.parametrize(
    "given, told",
    [
        ({"pooling": "max"}, "pooling 'max' is none of cls, mean, gem, head"),
        ({"precision": "fp8"}, "precision 'fp8' is none of"),
        ({"engine": "onx"}, "did you mean 'onnx'"),
        ({"size": 7}, "size 7: expected 32 to 4096 pixels, or 0"),
        ({"size": -1}, "size -1: expected 32 to"),
    ],
)
def test_options_that_make_no_sense_are_refused(given, told):
    with pytest.raises(UsageError, match=told):
        ModelOptions(**given)
