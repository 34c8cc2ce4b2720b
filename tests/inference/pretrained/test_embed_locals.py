"""Local features beside vectors: the network's own places, one pass, and what is refused."""

import pathlib
import shlex
import shutil

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from fastseek.cli import call_verb
from fastseek.data.own_images import images_of
from fastseek.errors import ArtefactError, UsageError
from fastseek.inference.pretrained import ModelOptions, load_model
from fastseek.inference.pretrained.embed import embed_images
from fastseek.inference.pretrained.embed_locals import LocalOptions, embed_with_locals
from fastseek.inference.pretrained.local_network import find_grid, place_grid
from fastseek.structures import Ranking, embedding_job
from fastseek.structures.local_embeddings import LocalEmbeddings
from pages import blocks

PAGE = pathlib.Path(__file__).parents[3] / "docs" / "local.md"


@pytest.fixture(scope="module", params=["test_vit", "test_efficientnet"])
def model(request, tmp_path_factory):
    torch.manual_seed(0)
    net = timm.create_model(request.param)
    file = tmp_path_factory.mktemp("weights") / "net.safetensors"
    save_file(net.state_dict(), file)
    return load_model(f"timm:{request.param}@{file}", ModelOptions(size=64))


@pytest.fixture
def images(tmp_path):
    (tmp_path / "images").mkdir()
    random = np.random.default_rng(0)
    for number in range(5):
        pixels = random.integers(0, 256, (48, 64, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{number}.png")
    (tmp_path / "images" / "2.png").write_bytes(b"no image")
    return tmp_path / "images"


def embed(model, images, out, options):
    return embed_with_locals(model, *images_of(images), out, options)


def test_all_local_features_are_the_networks_own(model, images, tmp_path):
    found = embed(model, images, tmp_path / "e", LocalOptions(0, "fp16", "all"))
    alone = embed_images(model, images, tmp_path / "alone")
    np.testing.assert_array_equal(found.vectors, alone.vectors)
    local = LocalEmbeddings.load(tmp_path / "e/locals")
    assert local.id_column.tolist() == found.ids.tolist() == alone.ids.tolist()
    assert local.provenance["model"] == found.provenance["model"] == alone.provenance["model"]
    module = model.local_network.module
    with Image.open(images / "3.png") as image:
        seen = model.transform(image.convert("RGB"))[None]
    with torch.no_grad():
        features = module.net.forward_features((seen.float() - module.mean) / module.std)[0]
    rows = features[module.net.num_prefix_tokens :] if features.ndim == 2 else features.flatten(1).T
    wanted = torch.nn.functional.normalize(rows, dim=1).numpy()
    tokens = local.read(local.find(np.array(["3.png"])))
    np.testing.assert_allclose(tokens.vectors[0], wanted, atol=2e-3)
    side = int(len(wanted) ** 0.5)
    assert tokens.places[0, 1] == pytest.approx([1.5 / side, 0.5 / side], abs=1e-3)


def test_features_of_an_inner_layer_are_what_its_blocks_leave(model, images):
    module = model.local_network.module
    with Image.open(images / "3.png") as image:
        seen = model.transform(image.convert("RGB"))[None]
    left = []
    blocks = list(module.net.blocks)
    hook = blocks[-2].register_forward_hook(lambda _, given, made: left.append(made))
    found = model.local_network(seen, layer=2)
    hook.remove()
    last = left[0][0]
    rows = last[module.net.num_prefix_tokens :] if last.ndim == 2 else last.flatten(1).T
    np.testing.assert_allclose(found.features[0], rows.detach().numpy(), atol=1e-6)
    np.testing.assert_allclose(found.vectors, model.local_network(seen).vectors, atol=1e-6)
    with pytest.raises(UsageError, match="has no layer 99 from its end"):
        model.local_network(seen, layer=99)


def test_a_killed_run_goes_on_and_its_bytes_are_the_same(model, images, tmp_path, monkeypatch):
    monkeypatch.setattr(embedding_job, "PIECE_ITEMS", 2)
    monkeypatch.setattr(embedding_job, "STEP", 2)
    options = LocalOptions(3, "binary")
    embed(model, images, tmp_path / "whole", options)
    shutil.copytree(tmp_path / "whole", tmp_path / "killed")
    for name in ("manifest.json", "00001.json", "locals/manifest.json", "locals/000000002.json"):
        (tmp_path / "killed" / name).unlink()
    embed(model, images, tmp_path / "killed", options)
    for file in (tmp_path / "whole").rglob("*.*"):
        if file.is_file() and file.suffix != ".lock":
            other = tmp_path / "killed" / file.relative_to(tmp_path / "whole")
            assert other.read_bytes() == file.read_bytes(), file.name


def test_a_folder_embedded_without_or_with_others_is_refused(model, images, tmp_path):
    embed(model, images, tmp_path / "e", LocalOptions(3))
    for options in (
        LocalOptions(4),
        LocalOptions(3, "binary"),
        LocalOptions(3, select="norm"),
        LocalOptions(3, layer=2),
    ):
        with pytest.raises(ArtefactError, match="locals"):
            embed(model, images, tmp_path / "e", options)
    embed_images(model, images, tmp_path / "plain")
    with pytest.raises(ArtefactError, match="locals"):
        embed(model, images, tmp_path / "plain", LocalOptions(3))


def test_how_tokens_lie_is_known_or_asked_for():
    net = torch.nn.Identity()
    assert find_grid(net, (3, 5)) == (3, 5) and find_grid(net, (16, 1)) == (4, 4)
    with pytest.raises(UsageError, match="does not tell how they lie"):
        find_grid(net, (15, 1))
    assert place_grid(2, 4)[5].tolist() == [0.375, 0.75]


def test_the_page_local_md_runs_as_it_stands(images, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for side in ("gallery", "queries"):
        shutil.copytree(images, side)
    for block in blocks(PAGE):
        if block.language == "python":
            exec(block.text, found := {})
        for command in block.commands if block.language == "bash" else ():
            verb, *words = shlex.split(command)[1:]
            small = ["--size", "64", "--local-bits", "binary"] if verb == "embed" else []
            call_verb(verb, words + small)
    assert "4 of 5 images" in capsys.readouterr().out
    local = LocalEmbeddings.load("G/locals")
    assert local.shape == (16, 1280, "binary") and local.shape.image_bytes == 2656
    assert found["tokens"].vectors.shape == (1, 16, 1280)
    ranking = Ranking.load("best.npz")
    assert ranking.indices[:, 0].tolist() == list(range(4))  # the same images
    assert ranking.scores[:, 0] == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("--locals some", "expected a number such as 16, or all"),
        ("--locals 0", "expected 1 or more"),
        ("--local-bits binary", "--local-bits goes with --locals"),
        ("--locals 4 --local-layer -1", "the last is 1"),
        ("--locals 4 --engine onnx", "run by plain torch"),
    ],
)
def test_what_cannot_be_asked_for_is_told(given, message, images, tmp_path):
    command = f"--model default --images {images} --out {tmp_path / 'e'} {given}"
    with pytest.raises(UsageError, match=message):
        call_verb("embed", command.split())
