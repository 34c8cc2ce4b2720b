"""Without the packages of training the search half works, and the rest says in one line what to
install.
"""

import pathlib
import sys

import numpy as np
import pytest

import processes
from fastseek.cli import call_verb
from fastseek.errors import UsageError

ROOT = pathlib.Path(__file__).parents[2]


def _run(hidden, *argv):
    return processes.run(
        *argv, forbidden=hidden, cwd=ROOT, env={"PATH": "/usr/bin:/bin"}, timeout=1800
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


@pytest.mark.parametrize(
    "verb", [("try", "x"), ("embed", "--model", "default", "--images", "x", "--out", "y")]
)
@pytest.mark.parametrize("missing", ["torch", "timm"])
def test_a_missing_package_of_pretrained_models_is_told_in_one_line(monkeypatch, verb, missing):
    monkeypatch.setattr("fastseek.cli._allocator.keep_memory", lambda: True)
    for name in [one for one in sys.modules if one.startswith("fastseek.inference")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    told = rf"fastseek {verb[0]} needs {missing}, .*pip install 'fastseek\[embed\]'"
    with pytest.raises(UsageError, match=told):
        call_verb(verb[0], verb[1:])


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
        done = _run(processes.TRAINING, *words)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "page.html").exists()
