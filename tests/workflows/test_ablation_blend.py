"""Steps of an ablation that blend, and several ablation files at once."""

import json

import numpy as np
import pytest

from fastseek.classification.blend import blend_members
from fastseek.config import recipe
from fastseek.errors import ArtefactError, UsageError
from fastseek.workflows.ablation.blend import Blend, blend
from fastseek.workflows.ablation.ensemble import ClassProbabilities
from fastseek.workflows.ablation.run import ablate_files
from fastseek.workflows.ablation.spec import read_ablation

RECIPE = """
PLUGINS: ["fastseek"]
MODEL: {META_ARCHITECTURE: Seeker, DEVICE: cpu}
DATASETS:
  NAMES: ["planted_places(of=\\"folder('PHOTOS')\\", missing=0.4)"]
  TESTS: ["planted_places(of=\\"folder('PHOTOS')\\", missing=0.4)"]
SOLVER: {IMS_PER_BATCH: 12, MAX_EPOCH: 1, BASE_LR: 0.003, WARMUP_ITERS: 0}
DATALOADER: {NUM_WORKERS: 0}
SEEK:
  BACKBONE: "timm(name='test_efficientnet', stages=(4,))"
  BRANCHES: ["geo(dim=16, hidden=16)"]
  LOSSES: ["cross_entropy(on='geo/image')"]
  TRAIN: ["resize(32)"]
  TEST: ["resize(32)"]
"""
ABLATION = """
NAME: Blends
BASE: tiny.yml
CLASS_METRICS: ["top(1)"]
STEPS:
  - NAME: image
  - NAME: place
    ALONE: true
    SET: {SEEK.LOSSES: ["cross_entropy(on='geo/place')"]}
  - NAME: product
    ALONE: true
    BLEND: {OF: [image], PRIOR: place}
  - NAME: both
    BLEND: {OF: [image, product], EVOLVE: de}
"""


@pytest.fixture
def files(photos, tmp_path):
    (tmp_path / "tiny.yml").write_text(RECIPE.replace("PHOTOS", str(photos)))
    (tmp_path / "ablation.yml").write_text(ABLATION)
    return tmp_path / "ablation.yml"


def test_a_blend_trains_nothing_and_says_what_its_members_say_together(files):
    """finegrained rows 76 and 79; with a second file the rows of both stand in one table."""
    other = files.parent / "other.yml"
    other.write_text(ABLATION.replace("NAME: Blends", "NAME: Others").split("  - NAME: place")[0])
    out = files.parent / "out"
    told = ablate_files([files, other], out)
    rows = json.loads((out / "results.json").read_text())["rows"]
    assert [row["name"] for row in rows] == [
        "Blends: image",
        "Blends: place",
        "Blends: product",
        "Blends: both",
        "Others: image",
    ]
    assert "Blends: both" in (out / "report.html").read_text() and "product" in told
    steps = {
        step["name"]: step
        for step in json.loads((out / "blends" / "ablation.json").read_text())["steps"]
    }
    assert steps["product"]["ensemble"] == {"of": ["image"], "evolve": "", "prior": "place"}
    said = {
        name: ClassProbabilities.load(
            out / "blends" / "answers" / step["seeds"][0]["answer"] / "classified.npz"
        )
        for name, step in steps.items()
    }
    product = said["image"].probabilities * said["place"].probabilities
    product /= product.sum(1, keepdims=True)
    used = np.isclose(said["product"].probabilities, product, atol=1e-5).all(1)
    kept = np.isclose(said["product"].probabilities, said["image"].probabilities, atol=1e-6).all(1)
    assert (used | kept).all() and used.any() and kept.any()
    assert len(list((out / "blends" / "trainings").iterdir())) == 2
    assert ablate_files([files, other], out) == told


def test_one_file_stands_in_the_folder_itself(files):
    files.write_text(ABLATION.split("  - NAME: place")[0])
    ablate_files([files], files.parent / "out")
    assert [
        row["name"]
        for row in json.loads((files.parent / "out" / "results.json").read_text())["rows"]
    ] == ["image"]


def test_two_files_of_one_name_are_refused(files):
    with pytest.raises(UsageError, match="one NAME"):
        ablate_files([files, files], files.parent / "out")


def saved(folder, probabilities, truth):
    folder.mkdir()
    ClassProbabilities(
        np.asarray(probabilities, np.float32), np.asarray(truth), np.ones(2, np.int64)
    ).save(folder / "classified.npz")
    return folder


def test_members_of_a_blend_must_have_seen_the_same_photos(tmp_path, files):
    a = saved(tmp_path / "a", [[0.9, 0.1], [0.4, 0.6]], [0, 1])
    b = saved(tmp_path / "b", [[0.5, 0.5], [0.2, 0.8]], [0, 1])
    cfg = recipe.load(files.parent / "tiny.yml")
    expected = blend_members(
        np.array([[[0.9, 0.1], [0.4, 0.6]], [[0.5, 0.5], [0.2, 0.8]]], np.float32)
    )
    assert np.allclose(blend(Blend(), [a, b], 0, cfg).probabilities, expected)
    with pytest.raises(ArtefactError, match="c classified other images"):
        blend(Blend(), [a, saved(tmp_path / "c", [[0.5, 0.5], [0.2, 0.8]], [1, 1])], 0, cfg)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("PRIOR: place", "PRIOR: absent", "wrong: absent"),
        ("EVOLVE: de", "EVOLVE: sga", "STEPS.3..BLEND.EVOLVE must be one of cma, de, got 'sga'"),
        ("OF: [image], PRIOR: place", "OF: [image]", "several steps"),
        (
            "EVOLVE: de",
            "SEARCH: de",
            ":14: there is no key STEPS.3..BLEND.SEARCH; known: OF, EVOLVE, PRIOR",
        ),
        ("OF: [image, product]", "OF: [both, image]", "wrong: both"),
        (
            'CLASS_METRICS: ["top(1)"]',
            'METRICS: ["map"]\nCLASS_METRICS: ["top(1)"]',
            "CLASS_METRICS alone",
        ),
    ],
)
def test_what_is_wrong_with_a_blend_is_told(files, old, new, says):
    assert old in ABLATION
    files.write_text(ABLATION.replace(old, new, 1))
    with pytest.raises(UsageError, match=says):
        read_ablation(files)
