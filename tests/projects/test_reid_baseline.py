"""The ReID strong baseline: every trick one line, and a tiny run of its own ablation."""

import json
import pathlib

import pytest
import yaml

import toy
from fastseek.config import recipe
from fastseek.workflows.ablation.run import ablate_file
from fastseek.workflows.ablation.spec import read_ablation

HOME = pathlib.Path(__file__).parents[2] / "projects" / "ReIDBaseline"
TINY = [
    "SEEK.BACKBONE",
    "timm(name='mobilenetv2_050', stages=(4,), head=True)",
    "SOLVER.MAX_EPOCH",
    "1",
    "SEEK.TEST",
    "['resize(32)']",
    "SOLVER.IMS_PER_BATCH",
    "16",
    "MODEL.DEVICE",
    "cpu",
]
TRICKS = [
    "baseline",
    "+ warm-up",
    "+ random erasing",
    "+ label smoothing",
    "+ last stride 1",
    "+ BNNeck",
    "+ center loss",
    "+ re-ranking",
]


def changes(long):
    """What every step changes since the one before, by key."""
    steps = read_ablation(HOME / "ablation.yml", long).steps
    said = [dict(zip(step.opts[::2], step.opts[1::2], strict=True)) for step in steps]
    return [step.name for step in steps], [
        {key for key in now if now[key] != before.get(key)}
        for before, now in zip(said, said[1:], strict=False)
    ]


@pytest.mark.parametrize("long", [False, True])
def test_the_table_has_the_rows_of_the_paper_and_each_changes_only_its_own(long):
    """finegrained row 21."""
    names, keys = changes(long)
    assert names == TRICKS
    assert keys == [
        {"SEEK.SCHEDULE"},
        {"SEEK.TRAIN"},
        {"SEEK.LOSSES"},
        {"SEEK.BLOCKS"},
        {"SEEK.BRANCHES", "SEEK.LOSSES"},
        {"SEEK.LOSSES"},
        {"SEEK.RERANK"},
    ]


def test_the_last_row_is_the_recipe_with_all_tricks():
    last = read_ablation(HOME / "ablation.yml", long=True).steps[-1]
    made, written = (
        recipe.load(last.config, last.opts),
        recipe.load(HOME / "configs" / "grocery.yml"),
    )
    assert made.SEEK == written.SEEK and made.SOLVER == written.SOLVER


def test_the_recipe_on_markets_layout_is_the_papers():
    """finegrained rows 5 and 14; 1.1 and 1.2: sizes, order of transforms, losses with their
    weights, optimiser.
    """
    cfg = recipe.load(HOME / "configs" / "market.yml")
    assert cfg.SEEK.TRAIN == [
        "resize((256, 128))",
        "hflip(0.5)",
        "pad_crop(10)",
        "random_erasing(0.5, fill='repo')",
    ]
    assert (
        cfg.SEEK.SAMPLER == "pk(k=4)"
        and cfg.SOLVER.IMS_PER_BATCH == 64
        and cfg.SOLVER.MAX_EPOCH == 120
    )
    assert (
        cfg.SOLVER.OPT,
        cfg.SOLVER.BASE_LR,
        cfg.SOLVER.WEIGHT_DECAY,
        cfg.SOLVER.WEIGHT_DECAY_BIAS,
    ) == ("Adam", 0.00035, 0.0005, 0.0005)
    assert cfg.SEEK.LOSSES == [
        "cross_entropy(on='bnneck', smoothing=0.1)",
        "triplet(on='bnneck/before', margin=0.3)",
        "center(on='bnneck/before', weight=0.0005, lr=0.5, rule='repo')",
    ]
    assert cfg.SEEK.BLOCKS == ["last_stride()"] and cfg.SEEK.RERANK == [
        "k_reciprocal(k1=20, k2=6, lambda_=0.3)"
    ]


def test_its_ablation_runs_tiny_on_the_toy_gallery(tmp_path):
    """finegrained row 21: eight rows, seven trainings, re-ranking without one."""
    photos = toy.gallery(tmp_path / "toy", classes=6, train=6, query=1, size=40)
    said = yaml.safe_load((HOME / "ablation.yml").read_text())
    said["BASE"] = str(HOME / "configs" / "Base-grocery.yml")
    said["SHORT"]["SEEDS"] = [0]
    said["SHORT"]["SET"]["SEEK.TRAIN"] = ["resize(32)"]
    (tmp_path / "ablation.yml").write_text(yaml.safe_dump(said, sort_keys=False))
    data = f"(\"folder('{photos}')\",)"
    told = ablate_file(
        tmp_path / "ablation.yml",
        tmp_path / "out",
        opts=[*TINY, "DATASETS.NAMES", data, "DATASETS.TESTS", data],
    )
    rows = json.loads((tmp_path / "out" / "results.json").read_text())["rows"]
    assert [row["name"] for row in rows] == TRICKS and all(name in told for name in TRICKS)
    assert len(list((tmp_path / "out" / "trainings").iterdir())) == 7
