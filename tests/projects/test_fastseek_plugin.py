"""projects/FastSeekPlugin: fast-reid's own project form, run under the installed fast-reid."""

from __future__ import annotations

import ast
import json
import pathlib
import re
import runpy
import sys

import pytest

import toy
from fastseek.config import recipe

PROJECT = pathlib.Path(__file__).parents[2] / "projects" / "FastSeekPlugin"
SMALL = {
    "MODEL.DEVICE": "cpu",
    "SEEK.BACKBONE": "timm(name='test_efficientnet', stages=(4,))",
    "SEEK.LOSSES": "['arcface(on=\"bnneck\", warm=3)', 'xbm(on=\"bnneck/before\", size=30, start=1)']",
    "SEEK.TRAIN": "['resize(32)']",
    "SEEK.TEST": "['resize(32)']",
    "SEEK.SAMPLER": "pk(k=2)",
    "SEEK.RERANK": "['k_reciprocal(k1=4, k2=2)']",
    "SEEK.METRICS": "['map(10)']",
    "SOLVER.IMS_PER_BATCH": "8",
    "SOLVER.MAX_EPOCH": "1",
    "TEST.EVAL_PERIOD": "1",
    "DATALOADER.NUM_WORKERS": "0",
}


@pytest.fixture
def command(tmp_path, monkeypatch):
    """command(*more) runs train_net.py in this process as `python projects/…/train_net.py` does."""
    images = toy.gallery(tmp_path / "toy", classes=4, train=4, query=1, size=40)
    sets = {"DATASETS.NAMES": f"(\"folder('{images}')\",)"}
    sets |= {"DATASETS.TESTS": sets["DATASETS.NAMES"], "OUTPUT_DIR": str(tmp_path / "out")}
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(PROJECT))

    def run(*more):
        opts = [part for pair in (SMALL | sets).items() for part in pair]
        config = str(PROJECT / "configs" / "grocery.yml")
        monkeypatch.setattr(
            sys, "argv", ["train_net.py", "--config-file", config, *more[:1], *opts, *more[1:]]
        )
        runpy.run_path(str(PROJECT / "train_net.py"), run_name="__main__")
        lines = (tmp_path / "out" / "metrics.json").read_text().splitlines()
        return [json.loads(line) for line in lines]

    return run


def test_the_project_trains_goes_on_and_evaluates_with_fast_reids_own_command(command, tmp_path):
    lines = command()
    assert lines[-1]["loss_xbm"] > 0
    assert re.search(r"map\(10\) \d+\.\d+  metric", (tmp_path / "out" / "log.txt").read_text())
    assert (tmp_path / "out" / "model_final.pth").exists()
    command("--eval-only", "MODEL.WEIGHTS", str(tmp_path / "out" / "model_final.pth"))
    again = command("--resume", "SOLVER.MAX_EPOCH", "2")
    assert again[-1]["iteration"] == 3


def test_the_folder_has_the_form_of_fast_reids_projects_and_needs_only_what_is_installed():
    names = {path.name for path in PROJECT.iterdir() if path.name not in ("logs", "__pycache__")}
    assert names == {"README.md", "configs", "fastseekplugin", "train_net.py"}
    for file in PROJECT.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and not node.level:
                assert node.module.split(".")[0] in {
                    "fastseek",
                    "fastreid",
                    "fastseekplugin",
                    "typing",
                }


@pytest.mark.parametrize("path", sorted(PROJECT.glob("configs/*.yml")), ids=lambda path: path.name)
def test_its_recipes_are_recipes_of_fastseek_too(path):
    assert recipe.load(path).MODEL.META_ARCHITECTURE == "Seeker"
