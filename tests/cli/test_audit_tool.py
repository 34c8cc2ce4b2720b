"""tools/audit.py and tools/subjects.py from files to files."""

import csv
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

import processes
import toy
from fastseek.cli import _audit as audit
from fastseek.cli import _audit_noise as audit_noise
from fastseek.data.transforms.denoise import read_table
from fastseek.errors import ArtefactError, DataError, UsageError
from fastseek.structures import Ranking

TOOL = pathlib.Path(__file__).parents[2] / "tools" / "audit.py"


def rows_of(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def smooth(number):
    """A toy photo without its own noise."""
    return np.array(
        toy.photo(number, 0, 64).resize((12, 12)).resize((96, 96), Image.Resampling.BICUBIC)
    )


@pytest.fixture
def noisy(tmp_path):
    home = tmp_path / "photos" / "shop"
    home.mkdir(parents=True)
    for number in range(4):
        pixels, random = smooth(number), np.random.default_rng(number)
        if number & 2:
            pixels = (
                (pixels + random.normal(scale=25, size=pixels.shape)).clip(0, 255).astype(np.uint8)
            )
        if number & 1:
            pixels[random.random((96, 96)) < 0.06] = 255 * (number % 2)
        Image.fromarray(pixels).save(home / f"{number}.png")
    (home / "broken.jpg").write_bytes(b"nothing")
    return tmp_path


def test_noise_is_told_a_row_a_photo_and_the_table_serves_the_repair(noisy):
    """finegrained row 24, row 25."""
    told = audit_noise.noise_file(noisy / "photos", noisy / "noise.csv")
    found = rows_of(noisy / "noise.csv")
    assert [(row["path"], row["class"]) for row in found] == [
        (f"shop/{number}.png", name)
        for number, name in enumerate(("clean", "impulse", "gaussian", "both"))
    ]
    assert abs(float(found[2]["sigma"]) - 25) < 5 and abs(float(found[1]["share"]) - 0.06) < 0.02
    assert told.startswith("1 clean, 1 impulse, 1 gaussian, 1 both") and "1 cannot be read" in told
    assert read_table(noisy / "noise.csv") == {f"shop/{number}.png": number for number in range(4)}
    assert [row["path"] for row in rows_of(noisy / "noise.csv.rejects.csv")] == ["shop/broken.jpg"]


def test_thresholds_are_the_callers(noisy):
    """finegrained row 24."""
    audit_noise.noise_file(noisy / "photos", noisy / "noise.csv", share=0.5, sigma=200)
    assert {row["class"] for row in rows_of(noisy / "noise.csv")} == {"clean"}


@pytest.fixture
def trained(tmp_path):
    """A checkpoint in which classes 1 and 6 of eight agree, two centres each."""
    random = np.random.default_rng(0)
    rows = random.normal(size=(8, 64)).astype(np.float32)
    rows[6] = rows[1] + 0.1 * random.normal(size=64)
    save_file(
        {
            "losses.subcenter_arcface.weight": rows.repeat(2, axis=0),
            "branches.gem.reduce.weight": rows,
            "losses.center.weight": random.normal(size=(8, 5)).astype(np.float32),
        },
        tmp_path / "model.safetensors",
    )
    labels = [f"class_{number:02d}" for number in range(8)]
    (tmp_path / "classes.json").write_text(json.dumps({"labels": labels, "counts": [6] * 8}))
    toy.gallery(tmp_path / "toy", size=32)
    return tmp_path


def test_duplicate_classes_are_named_and_shown_and_no_label_is_changed(trained):
    """finegrained row 39."""
    before = (trained / "classes.json").read_bytes()
    told = audit.duplicate_classes_file(
        trained / "model.safetensors",
        trained / "d.html",
        "subcenter_arcface",
        tau=0.6,
        data=f"folder({str(trained / 'toy')!r})",
        batch=8,
    )
    found = json.loads((trained / "d.json").read_text())
    assert [group["classes"] for group in found["groups"]] == [["class_01", "class_06"]]
    assert told.startswith("1 groups hold 2 of 8 classes") and "4 classes x  2 images" in told
    page = (trained / "d.html").read_text()
    assert "class_01 (6 images)" in page and page.count("data:image/jpeg") == 12
    assert (trained / "classes.json").read_bytes() == before


def test_the_chances_follow_from_the_groups_that_were_written(trained):
    """finegrained row 40."""
    audit.duplicate_classes_file(
        trained / "model.safetensors", trained / "d.json", "subcenter_arcface", tau=0.6
    )
    assert not (trained / "d.html").exists()
    told = audit.collisions_file(trained / "d.json", batch=8)
    assert told.splitlines()[0].endswith(f"{100 / 28:5.1f} % of all cases")
    with pytest.raises(DataError, match="not what"):
        audit.collisions_file(trained / "classes.json")


@pytest.mark.parametrize("loss, count", [("", 2), ("arcface", 0)])
def test_a_classifier_must_be_told_when_there_are_several(trained, loss, count):
    with pytest.raises(
        UsageError, match=f"{count} classifiers of 8 classes.*losses.subcenter_arcface.weight"
    ):
        audit.duplicate_classes_file(trained / "model.safetensors", trained / "d.json", loss)


def test_a_damaged_checkpoint_is_an_error(trained):
    (trained / "bad.safetensors").write_bytes(b"xx")
    with pytest.raises(ArtefactError, match="not a whole"):
        audit.duplicate_classes_file(trained / "bad.safetensors", trained / "d.json")
    with pytest.raises(DataError, match="no such weight file"):
        audit.duplicate_classes_file(trained / "none.safetensors", trained / "d.json")


def test_disagreeing_queries_stand_first_and_can_be_read_back(tmp_path):
    """finegrained row 45."""
    gallery = [f"g{number}" for number in range(40)]
    first = np.tile(np.arange(10), (3, 1))
    second = np.stack([np.arange(10), np.arange(9, 19), np.arange(20, 30)])
    for name, rows in (("a", first), ("b", second)):
        Ranking(["x", "y", "z"], gallery, rows, -np.tile(np.arange(10.0), (3, 1))).save(
            tmp_path / f"{name}.npz"
        )
    told = audit.disagreement_file([tmp_path / "a.npz", tmp_path / "b.npz"], tmp_path / "d.csv")
    assert [
        (row["query"], row["overlap"], row["disagrees"]) for row in rows_of(tmp_path / "d.csv")
    ] == [("z", "0.0000", "1"), ("y", "0.1000", "1"), ("x", "1.0000", "0")]
    assert told.startswith("2 of 3 queries") and audit.disagreeing(tmp_path / "d.csv") == [
        "z",
        "y",
    ]
    with pytest.raises(DataError, match="a.npz:1: not UTF-8"):
        audit.disagreeing(tmp_path / "a.npz")


def test_what_needs_no_photos_tensors_loads_no_torch():
    script = (
        "import sys, fastseek.cli._audit\nassert not {'torch', 'fastreid', 'cv2'} &"
        " set(sys.modules), sorted(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(TOOL.parents[1] / "plugins")},
    )
    assert done.returncode == 0, done.stderr


def test_the_tool_ends_with_the_exit_code_of_what_it_found(tmp_path):
    """finegrained row 55: an ensemble beyond its budget is exit code 5."""
    (tmp_path / "a.bin").write_bytes(bytes(2_000_000))
    done = [
        processes.run("audit.py", "size", "--limit-mb", limit, tmp_path / "a.bin")
        for limit in ("3", "1")
    ]
    assert [one.returncode for one in done] == [0, 5]
    assert "2.0 MB of 3 MB" in done[0].stdout and "1 are allowed" in done[1].stderr
