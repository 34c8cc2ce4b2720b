"""iNat 2021: every recipe loads and says what the facts say, its parts can be built, and its
ablation runs tiny.
"""

import json
import pathlib

import pytest
import torch
import yaml

import toy
from fastseek.config import recipe
from fastseek.config.edits import without_pretrained
from fastseek.modeling.layers.trainer_contract import announce_step
from fastseek.modeling.seeker import Seeker
from fastseek.registry import BACKBONES, VIEWS, build
from fastseek.views._embedding import all_views
from fastseek.workflows.ablation.run import ablate_files
from fastseek.workflows.ablation.spec import read_ablation

HOME = pathlib.Path(__file__).parents[2] / "projects" / "INat2021"
FULL = sorted(
    path.stem
    for path in (HOME / "configs").glob("*.yml")
    if path.stem not in ("Base-inat2021", "small")
)
ROWS = [
    "softmax",
    "ArcFace",
    "place alone",
    "ArcFace x prior of place",
    "+ geo, places shuffled",
    "+ geo",
    "+ test views",
    "+ evolved blend",
]


def load(name):
    return recipe.load(HOME / "configs" / f"{name}.yml")


@pytest.mark.parametrize("name", [name for name in FULL if name != "place"])
def test_a_member_is_an_arcface_classifier_with_the_published_augmentation_and_views(name):
    """finegrained rows 7, 73 and 78."""
    cfg = load(name)
    branch = cfg.SEEK.BRANCHES[0].split("(")[0]
    assert cfg.SEEK.LOSSES == [f"arcface(on='{branch}', s=30, margin=0.3, warm=10000)"]
    assert (
        "random_erasing(0.25, fill='image', law='log')" in cfg.SEEK.TRAIN
        and "hflip(0.5)" in cfg.SEEK.TRAIN
    )
    views = [build(call, VIEWS) for call in cfg.SEEK.VIEWS]
    size = int(cfg.SEEK.TEST[0].split("(")[-1].split(",")[0])
    assert len(all_views(torch.zeros(1, 3, size, size), views)) == 6 * 2 * 3
    assert cfg.SEEK.CLASS_METRICS[0] == "top(1, 5)"


def small(name, net):
    """A recipe with 10,000 classes and a net of the same family that a test can afford."""
    cfg = without_pretrained(load(name))
    cfg.defrost()
    cfg.SEEK.BACKBONE, cfg.MODEL.HEADS.NUM_CLASSES, cfg.MODEL.DEVICE = net, 10000, "cpu"
    return cfg


@pytest.mark.parametrize(
    ("name", "two"), [("swin_l_384", 1), ("swin_l_384_image", 1), ("swin_l_384_two_stream", 2)]
)
def test_a_member_trains_a_step_with_ten_thousand_classes(name, two):
    """finegrained rows 73, 75 and 77."""
    model = Seeker(small(name, "timm(name='test_efficientnet', stages=(4,), head=True)"))
    batch = {
        "images": torch.rand(2, 3, 64, 64) * 255,
        "targets": torch.tensor([3, 9999]),
        "places": torch.tensor([(10.0, 20.0, 0.5, 30.0), (torch.nan,) * 4]),
    }
    if two == 2:
        batch["crops"] = batch["images"].flip(0)
    announce_step(model.modules(), 0)  # as a trainer does
    loss = sum(model.train()(batch).values())
    loss.backward()
    assert loss.isfinite() and model.eval().logits(batch).shape == (2, 10000)
    assert [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None] == []


def test_a_swin_takes_the_sizes_of_the_views():
    """finegrained row 78: sizes that 32 divides."""
    net = build(
        "timm(name='swin_tiny_patch4_window7_224', stages=(4,), kwargs={'strict_img_size': False})",
        BACKBONES,
    )
    with torch.no_grad():
        for size in (64, 96):
            assert net.eval()(torch.zeros(1, 3, size, size))["s4"].shape == (
                1,
                768,
                size // 32,
                size // 32,
            )
    assert [round(384 * factor) % 32 for factor in (0.9167, 1.1667)] == [0, 0]


def test_the_prior_learns_from_places_alone():
    """finegrained row 76."""
    cfg = load("place")
    assert cfg.SEEK.LOSSES == [
        "cross_entropy(on='geo/place', smoothing=0.0)"
    ] and cfg.SEEK.FREEZE == ["backbone"]
    assert (
        cfg.SEEK.SAMPLER == "capped(cap=100)"
        and cfg.SOLVER.BASE_LR == 0.0005
        and cfg.SOLVER.MAX_EPOCH == 30
    )


def test_the_two_stream_member_crops_as_told():
    """finegrained row 77."""
    assert (
        load("swin_l_384_two_stream").SEEK.CROPS
        == "boxes(file='inat2021/boxes.json', margin=0.1, score=0.3)"
    )


@pytest.mark.parametrize("long", [False, True])
def test_shuffled_places_stand_beside_planted_ones_and_differ_in_nothing_else(long):
    """finegrained row 75."""
    steps = {step.name: step for step in read_ablation(HOME / "ablation.yml", long).steps}
    assert list(steps) == ROWS
    said = {
        name: dict(zip(step.opts[::2], step.opts[1::2], strict=True))
        for name, step in steps.items()
    }
    shuffled, planted = said["+ geo, places shuffled"], said["+ geo"]
    assert {key for key in shuffled if shuffled[key] != planted.get(key)} == {
        "DATASETS.NAMES",
        "DATASETS.TESTS",
    }
    cfg = recipe.load(steps["+ geo"].config, steps["+ geo"].opts)
    assert tuple(shuffled["DATASETS.NAMES"]) == tuple(
        one[:-1] + ", shuffled=True)" for one in cfg.DATASETS.NAMES
    )
    assert steps["+ geo"].before == steps["+ geo, places shuffled"].before == ROWS.index("ArcFace")


def test_its_ablation_runs_tiny_on_the_toy_gallery(tmp_path):
    """finegrained rows 76 and 79."""
    photos = toy.gallery(tmp_path / "toy", classes=6, train=6, query=4, size=40)
    said = yaml.safe_load((HOME / "ablation.yml").read_text())
    said["BASE"] = str(HOME / "configs" / "small.yml")
    for step in said["STEPS"]:
        for key, value in step.get("SET", {}).items():
            if key.startswith("DATASETS"):
                step["SET"][key] = [f"planted_places(of=\"folder('{photos}')\", shuffled=True)"]
            elif key in ("SEEK.BACKBONE", "SEEK.TRAIN", "SEEK.TEST") or "EPOCH" in key:
                step["SET"][key] = 1 if "EPOCH" in key else value
    said["SHORT"]["SEEDS"] = [0]
    said["SHORT"]["SET"] = {
        "SEEK.BACKBONE": "timm(name='mobilenetv2_050', stages=(4,), head=True)",
        "SEEK.TRAIN": ["resize(32)"],
        "SEEK.TEST": ["resize(32)"],
        "SOLVER.MAX_EPOCH": 1,
        "DATASETS.NAMES": [f"planted_places(of=\"folder('{photos}')\")"],
        "DATASETS.TESTS": [f"planted_places(of=\"folder('{photos}')\")"],
    }
    (tmp_path / "ablation.yml").write_text(yaml.safe_dump(said, sort_keys=False))
    told = ablate_files(
        [tmp_path / "ablation.yml"],
        tmp_path / "out",
        opts=["SOLVER.IMS_PER_BATCH", "12", "MODEL.DEVICE", "cpu"],
    )
    rows = json.loads((tmp_path / "out" / "results.json").read_text())["rows"]
    assert [row["name"] for row in rows] == ROWS and all(name in told for name in ROWS)
    assert len(list((tmp_path / "out" / "trainings").iterdir())) == 5
