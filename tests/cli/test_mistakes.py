"""What people give by mistake ends in one line that says what to do, with the right exit code."""

import json
import pathlib
import sys
import tarfile

import numpy as np
import pytest
import torch

import toy
from fastseek import cli
from fastseek.config import recipe
from fastseek.data.datasets.manifest import Manifest
from fastseek.data.own_images import images_of
from fastseek.data.single_image import read_single_image
from fastseek.distributed.device import device
from fastseek.errors import DataError, UsageError
from fastseek.io.paths import locate
from fastseek.registry import DATASETS, ENHANCERS, METRICS, RERANKERS, build
from fastseek.structures import Embeddings

ROOT = pathlib.Path(__file__).parents[2]
RECIPE = ROOT / "configs/quick/dolg.yml"


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Images, vectors and files of other kinds; it is the working folder."""
    monkeypatch.chdir(tmp_path)
    toy.gallery(tmp_path / "images", classes=2, train=1, query=1, size=32)
    for name, count in (("q", 6), ("g", 12)):
        np.save(f"{name}.npy", toy.circle(np.arange(count) % 3, count, 0.4))
    np.savez("v.npz", vectors=np.load("q.npy"))
    with tarfile.open("images.tar.gz", "w:gz") as archive:
        archive.add("images")
    pathlib.Path("one.jpg").write_bytes(next((tmp_path / "images").rglob("*.jpg")).read_bytes())
    pathlib.Path("cut.jpg").write_bytes(pathlib.Path("one.jpg").read_bytes()[:200])
    pathlib.Path("cars.json").write_text('{"cars": []}')
    return tmp_path


def ended(capsys, *words):
    """The exit code of a command and the one line it said."""
    with pytest.raises(SystemExit) as left:
        cli.main(list(words))
    told = capsys.readouterr().err
    assert told.startswith("error: ") and told.count("\n") == 1, told
    return left.value.code, told.removeprefix("error: ").rstrip()


def test_F29_one_image_is_taken_as_it_is(home):
    items, root = images_of("one.jpg")
    assert [(item.id, item.path) for item in items] == [("one.jpg", "one.jpg")]
    assert pathlib.Path(root) == home
    assert images_of(home / "one.jpg")[1] == str(home)
    cli.call_verb("audit", ["noise", "--images", "one.jpg", "--out", "noise.csv"])
    assert pathlib.Path("noise.csv").read_text().splitlines()[1].startswith("one.jpg,")


@pytest.mark.parametrize("name", ["images.tar.gz", "cut.jpg", "cars.json", "v.npz"])
def test_F29_a_file_that_is_neither_image_nor_table_is_told_as_such(name, home, capsys):
    for take in (read_single_image, images_of):
        with pytest.raises(
            DataError,
            match=f"{name} is neither an image .* what is compressed is unpacked first",
        ):
            take(name)
    command = ["audit", "noise", "--images", name, "--out", "n.csv"]
    assert ended(capsys, *command)[0] == 3 and not pathlib.Path("n.csv").exists()


@pytest.mark.parametrize("name", ["s3://bucket/images", "https://host/list.csv", "gs://b/x"])
def test_F29_what_is_on_another_machine_is_not_looked_for_in_folders(name, monkeypatch):
    with pytest.raises(DataError, match="is not on this machine: download it") as caught:
        locate(name)
    assert "put it below" not in str(caught.value)
    for package in ("s3fs", "aiohttp", "gcsfs"):
        monkeypatch.setitem(sys.modules, package, None)
    needed = {"s3": "s3fs", "https": "aiohttp", "gs": "gcsfs"}[name.partition(":")[0]]
    for ask in (images_of, Manifest, lambda name: build(f"folder({name!r})", DATASETS)):
        with pytest.raises(UsageError, match=f"reading .*:// needs {needed}"):
            ask(name)


def test_F29_an_absolute_path_that_is_not_there_is_not_sent_to_the_data_roots(tmp_path):
    with pytest.raises(DataError, match="not found .*: mend the name") as caught:
        locate(tmp_path / "absent")
    assert "put it below" not in str(caught.value)
    with pytest.raises(DataError, match="put it below one of"):
        locate("absent")


@pytest.mark.parametrize(
    ("name", "side"),
    [
        *((name, "--queries") for name in ("v.npz", "images", "cars.json")),
        *((name, "--gallery") for name in ("v.npz", "one.jpg", "images", "cars.json")),
    ],
)
def test_F33_F37_what_are_no_embeddings_is_told_with_the_way_to_them(name, side, home, capsys):
    sides = {"--queries": "q.npy", "--gallery": "g.npy"} | {side: name}
    words = [word for pair in sides.items() for word in pair]
    code, told = ended(capsys, "search", *words, "--out", "r.npz")
    assert code == 3 and told.startswith(name)
    assert "`fastseek embed`" in told and "an .npz or .pt file are saved alone as .npy" in told
    with pytest.raises(
        DataError, match="expected a folder of embeddings, a .npy or a .safetensors"
    ):
        Embeddings.load(name)


@pytest.mark.parametrize(
    ("registry", "wrong", "right"),
    [
        (METRICS, "mAP", "map"),
        (METRICS, "Recal(1)", "recall"),
        (RERANKERS, "K_Reciprocal()", "k_reciprocal"),
        (ENHANCERS, "PCA(dim=2)", "pca"),
    ],
)
def test_F37_a_name_in_other_letters_is_told_the_right_one(registry, wrong, right):
    with pytest.raises(UsageError, match=f"did you mean '{right}'"):
        build(wrong, registry)


@pytest.mark.parametrize("key", ["solver.max_epoch", "Solver.Max_Epoch", "SOLVER.max_epoch"])
def test_F37_a_key_in_other_letters_is_told_the_right_one(key):
    with pytest.raises(UsageError, match=r"did you mean SOLVER\.MAX_EPOCH\?"):
        recipe.load(RECIPE, [key, "3"])


FOREIGN = [
    [1],
    None,
    {"groups": 3, "classes": 4},
    {"groups": [{"a": 1}], "classes": 4},
    {"groups": [{"classes": ["a", "b"]}], "classes": "two"},
    {"groups": [{"classes": ["a", "b"]}], "classes": 1},
]


@pytest.mark.parametrize("page", FOREIGN, ids=str)
def test_F64_foreign_json_is_no_list_of_duplicate_classes(page, home, capsys):
    pathlib.Path("groups.json").write_text(json.dumps(page))
    code, told = ended(capsys, "audit", "collisions", "--groups", "groups.json")
    assert code == 3 and told.startswith("groups.json: not what `fastseek audit duplicate-classes`")


@pytest.mark.parametrize(
    "command",
    [
        "search --queries q\0.npy --gallery g.npy --out r.npz",
        "search --queries q.npy --gallery g.npy --out r\0.npz",
        "report --ranking r\0.npz --truth t.csv --out p.html",
        "audit size w\0.pth",
        "train quick/dolg --out a\0b",
    ],
)
def test_F64_a_zero_byte_in_an_argument_is_one_line(command, home, capsys):
    code, told = ended(capsys, *command.split(" "))
    assert code == 2 and "holds a zero byte" in told


def test_F64_a_zero_byte_in_a_recipe_or_call_string_is_one_line(tmp_path):
    with pytest.raises(UsageError, match="save holds a zero byte"):
        build("pca(dim=2, save='a\\0b')", ENHANCERS)
    (tmp_path / "zero.yml").write_text(f'_BASE_: {RECIPE}\nOUTPUT_DIR: "a\\0b"\n')
    with pytest.raises(UsageError, match="zero.yml:2: OUTPUT_DIR holds a zero byte"):
        recipe.load(tmp_path / "zero.yml")


@pytest.mark.parametrize("name", ["mps", "cuda:99", "xpu", "meta:0:0"])
def test_F64_a_device_that_is_not_here_is_one_line(name, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(UsageError, match=f"MODEL.DEVICE {name}: there is no such device") as caught:
        device(name)
    assert "\n" not in str(caught.value)
    assert device("cpu") == "cpu"


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ("one.jpg", "one.jpg is one image: name the folder that holds one folder a class"),
        ("cut.jpg", "neither an image"),
        ("cars.json", "neither an image .* nor a .csv or .parquet table"),
    ],
)
def test_one_image_is_no_data_to_train_on(home, data, told):
    with pytest.raises(DataError, match=told):
        cli.call_verb("run", ["quick/dolg", "--data", data, "--out", "o"])
    assert not (home / "o").exists()
