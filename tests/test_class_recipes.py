"""The page of classes of one's own images: its commands, one after the other, in one process."""

import csv
import json
import shlex
import shutil

import numpy as np
import pytest
from PIL import Image
from test_docs import commands

import toy
from fastseek import cli

# What makes a training take seconds; nothing else is changed.
QUICK = """
SOLVER.MAX_EPOCH 1 SOLVER.IMS_PER_BATCH 8 MODEL.DEVICE cpu DATALOADER.NUM_WORKERS 0
SEEK.BACKBONE "timm(name='test_efficientnet', stages=(3, 4))" SEEK.TRAIN "['resize((32, 32))']"
SEEK.TEST "['resize((32, 32))']"
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder as the page describes it."""
    home = tmp_path_factory.mktemp("classes")
    images = toy.gallery(home / "toy", classes=3, train=6, query=2, size=40)
    for name in ("images", "labelled"):
        shutil.copytree(images / "train", home / name)
    for name in ("questions", "unlabelled"):
        shutil.copytree(images / "query", home / name)
    (home / "strangers").mkdir()
    random = np.random.default_rng(0)
    for number in range(4):
        noise = random.integers(0, 256, (40, 40, 3)).astype(np.uint8)
        Image.fromarray(noise).save(home / "strangers" / f"{number}.png")
    rows = ["path,label,split,latitude,longitude,observed_on,box"]
    for split in ("train", "query"):
        for file in sorted((images / split).rglob("*.jpg")):
            place = f"{10 * int(file.parent.name[-1])},5,2021-06-01"
            rows.append(f"{file.relative_to(home)},{file.parent.name},{split},{place},.2 .2 .8 .8")
    (home / "images.csv").write_text("\n".join(rows) + "\n")
    return home


@pytest.mark.slow
def test_the_commands_of_the_page_run_one_after_the_other(home, monkeypatch, capsys):
    monkeypatch.chdir(home)
    done = commands("classes.md")
    for command in done:
        _, verb, *words = shlex.split(command.replace("/my/questions", "questions"))
        more = shlex.split(QUICK) if verb in ("train", "self-train") else []
        cli.call_verb(verb, [*words, *more])
    assert {command.split()[1] for command in done} == {
        "train",
        "classify",
        "classify-report",
        "self-train",
    }
    said = list(csv.DictReader((home / "outputs/said/predictions.csv").open()))
    assert len(said) == 6 and {row["label"] for row in said} <= {f"class_0{n}" for n in range(3)}
    assert json.loads((home / "outputs/looked-at/gate.json").read_text())["figures"]["outside"] == 4
    assert (home / "outputs/rounds/report.html").exists()
    log = (home / "outputs/places/log.txt").read_text()
    assert "18 of 18 training images have a place, 18 a date" in log
