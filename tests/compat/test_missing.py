"""Without the packages of training the search half works, and the rest says in one line what to
install.
"""

import pathlib
import subprocess
import sys

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).parents[2]
HIDE = """
import importlib.abc, runpy, sys
class Hidden(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {hidden!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
import importlib.util
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name.split(".")[0] in {hidden!r} else found(name, package)
sys.meta_path.insert(0, Hidden())
sys.argv = {argv!r}
runpy.run_path(sys.argv[0], run_name="__main__")
"""
TRAINING = {"torch", "torchvision", "timm", "fastreid", "faiss", "sklearn"}


def _run(hidden, *argv):
    code = HIDE.format(hidden=hidden, argv=[str(ROOT / "tools" / argv[0]), *map(str, argv[1:])])
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT / "plugins"), "PATH": "/usr/bin:/bin"},
    )


@pytest.mark.parametrize(
    "tool",
    [
        ("train_net.py", "--config-file", "configs/quick/dolg.yml"),
        ("run.py", "--config-file", "configs/quick/dolg.yml", "--out", "x"),
        (
            "embed.py",
            "--config-file",
            "configs/quick/dolg.yml",
            "--weights",
            "b",
            "--images",
            "c",
            "--out",
            "d",
        ),
    ],
)
@pytest.mark.parametrize("missing", ["fastreid", "torch", "timm"])
def test_a_missing_package_of_training_is_told_in_one_line_with_the_command(tool, missing):
    done = _run({missing}, *tool)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and missing in done.stderr and "pip install" in done.stderr


def test_search_score_and_page_work_without_any_of_them(tmp_path):
    random = np.random.default_rng(0)
    for name, rows in (("q", 4), ("g", 30)):
        np.save(tmp_path / f"{name}.npy", random.normal(size=(rows, 8)).astype(np.float32))
    lines = [
        f"{row},{'ab'[row % 2]},{split}"
        for split, rows in (("query", 4), ("gallery", 30))
        for row in range(rows)
    ]
    (tmp_path / "truth.csv").write_text("\n".join(["id,label,split", *lines]) + "\n")
    files = ["--ranking", tmp_path / "r.npz", "--truth", tmp_path / "truth.csv"]
    sides = ["--queries", tmp_path / "q.npy", "--gallery", tmp_path / "g.npy"]
    for words in (
        [
            "search.py",
            *sides,
            "--search",
            "exact(k=30)",
            "--rerank",
            "k_reciprocal(k1=5, k2=2)",
            "--out",
            tmp_path / "r.npz",
        ],
        ["score.py", "ranking", *files, "--metrics", "map(100)", "recall(1)", "gap"],
        ["report.py", *files, "--out", tmp_path / "page.html"],
    ):
        done = _run(TRAINING, *words)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "page.html").exists()
