"""Trained runs, checkpoints with their recipes, and ONNX files, by name."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from fastseek.cli import call_verb
from fastseek.errors import ArtefactError, DataError, UsageError
from fastseek.inference.embed_parts.embed_request import EmbedRequest, embed_request
from fastseek.inference.pretrained import ModelOptions, load_model
from fastseek.io.model_names import anchor_name
from fastseek.modeling.build import build_model
from fastseek.structures import Embeddings
from fastseek.structures.provenance import check_same_model


@pytest.fixture
def run(recipe_of, tmp_path):
    """A finished training: outputs/mine with its recipe and weights."""
    torch.manual_seed(0)
    cfg = recipe_of(
        SEEK__BACKBONE="timm('test_efficientnet')",
        SEEK__BRANCHES=["linear_neck(pool='gem', dim=8)"],
        SEEK__LOSSES=[],
        SEEK__TEST=["resize([64, 64])"],
        SEEK__METRICS=["map()"],
    )
    folder = tmp_path / "mine" / "train"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(cfg.dump())
    save_file(build_model(cfg).state_dict(), folder / "model_final.safetensors")
    return tmp_path / "mine"


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(3):
        pixels = random.integers(0, 256, (40, 30 + number, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def test_a_run_by_its_folder_gives_what_its_recipe_gives(run, images, tmp_path):
    home = run / "train"
    recipe = str(home / "config.yaml"), str(home / "model_final.safetensors"), ()
    embed_request(EmbedRequest(str(images), str(tmp_path / "r"), recipe=recipe))
    stored = Embeddings.load(tmp_path / "r")
    for name in (str(run), str(home), f"run:{run}", str(home / "model_final.safetensors")):
        model = load_model(name)
        found = model.embed(sorted(images.iterdir()))
        assert np.allclose(found, stored.vectors, atol=1e-6) and model.dim == 8
    call_verb("embed", ["--model", str(run), "--images", str(images), "--out", str(tmp_path / "n")])
    check_same_model(Embeddings.load(tmp_path / "n"), stored)


def test_weights_elsewhere_take_the_recipe_that_is_named(run, images, tmp_path):
    alone = tmp_path / "zoo.pth"
    model = load_model(str(run))
    weights = load_file(run / "train/model_final.safetensors")
    torch.save({"model": weights}, alone)
    with pytest.raises(UsageError, match=r"no recipe lies beside it \(zoo.yml or config.yaml\)"):
        load_model(str(alone))
    named = load_model(f"{run / 'train/config.yaml'}@{alone}")
    files = sorted(images.iterdir())
    assert np.array_equal(named.embed(files), model.embed(files))
    assert named.provenance["model"] == model.provenance["model"]


def test_a_model_by_a_relative_path_is_remembered_by_its_absolute_one(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_onnx(tmp_path / "m.onnx")
    (tmp_path / "m.json").write_text(
        '{"size": [32, 32], "mean": [0.1, 0.2, 0.3], "std": [0.5, 0.5, 0.5]}'
    )
    recipe, weights = "mine/train/config.yaml", "mine/train/model_final.safetensors"
    absolute = {
        "mine": run,
        "run:mine/train": f"run:{run}/train",
        weights: tmp_path / weights,
        f"{recipe}@{weights}": f"{tmp_path / recipe}@{tmp_path / weights}",
        "m.onnx": tmp_path / "m.onnx",
    }
    made = {given: load_model(given) for given in absolute}
    for given, wanted in absolute.items():
        assert made[given].provenance["name"] == str(wanted) and made[given].name == given
    monkeypatch.chdir("/")
    for model in made.values():
        again = load_model(model.provenance["name"])
        assert again.provenance == model.provenance


def test_names_without_a_path_stay_as_they_are(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "default").mkdir()
    for name in ("default", "timm:vit_small", "timm:x@away.pth", "Grocery/dolg@w.pth", "", "away"):
        assert anchor_name(name) == name
    (tmp_path / "roots").mkdir()
    (tmp_path / "roots" / "w.pth").touch()
    monkeypatch.setenv("FASTREID_DATASETS", str(tmp_path / "roots"))
    assert anchor_name("timm:x.y@w.pth") == f"timm:x.y@{tmp_path}/roots/w.pth"
    monkeypatch.chdir(tmp_path / "roots")
    assert anchor_name("Grocery/dolg@w.pth") == f"Grocery/dolg@{tmp_path}/roots/w.pth"


def test_what_a_recipe_decides_cannot_be_asked_for(run, tmp_path):
    for given in ({"pooling": "gem"}, {"size": 64}, {"precision": "bf16"}, {"engine": "onnx"}):
        with pytest.raises(UsageError, match="recipe says its|export it to ONNX"):
            load_model(str(run), ModelOptions(**given))
    with pytest.raises(DataError, match="no folder of a finished training"):
        load_model(str(tmp_path))


def write_onnx(file, **metadata):
    """The mean of every channel, as ONNX."""
    from onnx import TensorProto, helper

    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, "h", "w"])
    found = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", 3])
    nodes = [
        helper.make_node("GlobalAveragePool", ["images"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["embedding"]),
    ]
    graph = helper.make_graph(nodes, "mean", [images], [found])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    for key, value in metadata.items():
        model.metadata_props.add(key=key, value=value)
    file.write_bytes(model.SerializeToString())


@pytest.mark.parametrize("call", ["resize([64, 32])", "fastreid: resize([64, 32], bicubic)"])
def test_an_onnx_file_of_ours_says_how_images_are_prepared(images, tmp_path, call):
    file = tmp_path / "model.onnx"
    told = {"model": "a" * 64, "preprocessing": {"test": [call], "mean": [0, 0, 0]}, "views": []}
    write_onnx(file, fastseek=json.dumps(told))
    model = load_model(str(file))
    found = model.embed(sorted(images.iterdir()))
    for path, vector in zip(sorted(images.iterdir()), found, strict=True):
        stretched = Image.open(path).resize((32, 64), Image.Resampling.BICUBIC)
        mean = np.asarray(stretched, np.float64).mean(axis=(0, 1))
        assert np.abs(vector - mean / np.linalg.norm(mean)).max() < 5e-3  # other interpolations
    assert model.provenance["model"] == "a" * 64 and model.dim == 3


def test_an_onnx_file_whose_words_cannot_be_read_is_refused(tmp_path):
    for told in ("{", "{}", json.dumps({"preprocessing": {"test": ["fastreid: other"]}})):
        write_onnx(tmp_path / "model.onnx", fastseek=told)
        with pytest.raises(ArtefactError, match="cannot be read|does not know"):
            load_model(str(tmp_path / "model.onnx"))


def test_an_onnx_file_of_elsewhere_needs_its_preprocessing_beside_it(images, tmp_path):
    file = tmp_path / "other.onnx"
    write_onnx(file)
    with pytest.raises(UsageError, match="put other.json beside it"):
        load_model(str(file))
    beside = file.with_suffix(".json")
    beside.write_text('{"size": [32, 32], "mean": [0.5, 0.5, 0.5]}')
    with pytest.raises(UsageError, match="tells no preprocessing"):
        load_model(str(file))
    beside.write_text(
        '{"size": [32, 32], "mean": [0.1, 0.2, 0.3], "std": [0.5, 0.5, 0.5], "crop_pct": 1.0}'
    )
    model = load_model(str(file))
    source = Image.open(images / "0.png")  # 30 x 40
    resized = source.resize((32, 42), Image.Resampling.BICUBIC).crop((0, 5, 32, 37))
    mean = np.asarray(resized, np.float64).mean(axis=(0, 1)) / 255
    slow = (mean - [0.1, 0.2, 0.3]) / 0.5
    assert np.allclose(model.embed([images / "0.png"])[0], slow / np.linalg.norm(slow), atol=1e-5)
    with pytest.raises(UsageError, match="an ONNX file says itself its pooling"):
        load_model(str(file), ModelOptions(pooling="cls"))


def test_what_is_no_onnx_file_is_told(tmp_path):
    with pytest.raises(DataError, match="there is no such ONNX file"):
        load_model(str(tmp_path / "nobody.onnx"))
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    with pytest.raises(ArtefactError, match="ONNX Runtime does not take it"):
        load_model(str(tmp_path / "bad.onnx"))
