"""`fastseek embed --model NAME`, as it is called."""

import io

import numpy as np
import pytest
from PIL import Image

from fastseek.cli import call_verb
from fastseek.errors import ArtefactError, DataError, UsageError
from fastseek.structures import Embeddings


@pytest.fixture
def images(tmp_path):
    (tmp_path / "images").mkdir()
    for number, color in enumerate(((200, 10, 10), (10, 200, 10))):
        Image.new("RGB", (60, 50), color).save(tmp_path / "images" / f"{number}.png")
    return tmp_path / "images"


def embed(*given):
    call_verb("embed", [str(word) for word in given])


def test_a_folder_is_embedded_and_the_same_command_again_changes_nothing(images, tmp_path, capsys):
    command = ("--model", "default", "--images", images, "--out", tmp_path / "e")
    embed(*command)
    assert "2 of 2 images, 1280 numbers each" in capsys.readouterr().out
    found = Embeddings.load(tmp_path / "e")
    assert np.allclose(np.linalg.norm(found.vectors, axis=1), 1, atol=1e-6)
    embed(*command)
    assert "2 of 2 images" in capsys.readouterr().out
    with pytest.raises(ArtefactError, match="holds other embeddings"):
        embed(*command, "--pooling", "gem")


def test_a_table_and_one_image_are_taken_too(images, tmp_path, capsys):
    (tmp_path / "t.csv").write_text("path,label\nimages/1.png,x\n")
    embed("--model", "default", "--images", tmp_path / "t.csv", "--out", tmp_path / "t")
    embed("--model", "default", "--images", images / "1.png", "--out", tmp_path / "o")
    table, one = (Embeddings.load(tmp_path / name) for name in ("t", "o"))
    assert table.ids.tolist() == ["images/1.png"] and one.ids.tolist() == ["1.png"]
    assert np.array_equal(table.vectors, one.vectors)


def test_a_list_on_standard_input_is_taken_wherever_images_are(
    images, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(images)

    def call(verb, *words):
        monkeypatch.setattr("sys.stdin", io.StringIO("1.png\n./0.png\n"))
        call_verb(verb, [str(word) for word in words])
        return capsys.readouterr().out

    call("embed", "--model", "default", "--images", "-", "--out", tmp_path / "s")
    embed("--model", "default", "--images", images, "--out", tmp_path / "e")
    listed, folder = Embeddings.load(tmp_path / "s"), Embeddings.load(tmp_path / "e")
    assert listed.ids.tolist() == ["1.png", "0.png"] and folder.ids.tolist() == ["0.png", "1.png"]
    assert np.array_equal(listed.vectors[::-1], folder.vectors)
    shop = tmp_path / "shop"
    call("index", "create", "--out", shop, "--model", "default")
    assert "2 images embedded and put in" in call("index", "add", shop, "--images", "-")
    found = call("index", "search", shop, "--images", "-", "-k", 1)
    assert found == "1.png\n   1  1.0000  1.png\n0.png\n   1  1.0000  0.png\n"
    told = call("try", "-", "--out", tmp_path / "look", "--query", images / "0.png")
    assert "2 of 2 images have a vector" in told and "--images list.txt" in told
    call("audit", "noise", "--images", "-", "--out", tmp_path / "noise.csv")
    assert (tmp_path / "noise.csv").read_text().count(".png") == 2


@pytest.mark.parametrize(
    ("verb", "option"),
    [
        *((verb, "--images") for verb in ("embed", "classify", "subjects")),
        *(((f"index {verb}"), "--images") for verb in ("add", "upsert", "search")),
        *(("audit noise", "--images"), ("classify-report", "--outside"), ("try", "--query")),
        *((verb, "--queries") for verb in ("search", "rerank")),
    ],
)
def test_every_option_of_images_reads_a_list_by_one_rule(monkeypatch, verb, option):
    """An empty list is refused in the same words, before anything else is looked for."""
    monkeypatch.setattr("sys.stdin", io.StringIO("\n"))
    name, *command = verb.split()
    with pytest.raises(DataError, match="standard input: names no image"):
        call_verb(name, [*command, option, "-"])


@pytest.mark.parametrize(
    "given, error, told",
    [
        ((), UsageError, "no model is named: say --model default"),
        (("--config-file", "x.yml"), UsageError, "there is no such recipe"),
        (("--model", "default", "--weights", "w.pth"), UsageError, "takes no recipe, no --weights"),
        (
            ("--model", "defualt"),
            UsageError,
            "no model is called 'defualt'.*did you mean default",
        ),
        (("--model", "timm:resnet18@no.pth"), DataError, "no.pth not found"),
        (("--model", "default", "--engine", "onnx", "--precision", "fp16"), UsageError, "in fp16"),
    ],
)
def test_wrong_use_is_told(images, tmp_path, given, error, told):
    with pytest.raises(error, match=told):
        embed(*given, "--images", images, "--out", tmp_path / "e")
    assert not (tmp_path / "e").exists()


def test_options_of_models_by_name_are_refused_beside_a_recipe(images, tmp_path):
    (tmp_path / "r.yml").write_text("MODEL: {}\n")
    with pytest.raises(UsageError, match="--pooling goes with --model"):
        embed(
            *(tmp_path / "r.yml", "--weights", "w.pth", "--pooling", "gem"),
            *("--images", images, "--out", tmp_path / "e"),
        )
