"""The README as a newcomer reads it: its tables, its links and its commands."""

import pathlib
import re
import shlex
import subprocess
import sys
import types

import numpy as np
import pytest

import toy
from fastseek.registry import RERANKERS, build
from fastseek.report.readme import fill
from fastseek.structures import Embeddings, Ranking

ROOT = pathlib.Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def _commands():
    """Every indented line of the README that calls the command, continuation lines joined."""
    text = README.replace("\\\n", " ")
    return [
        " ".join(line.split())
        for line in text.splitlines()
        if re.match(r" {4}\.venv/bin/\S+ ", line)
    ]


@pytest.mark.parametrize(
    "path",
    [ROOT / "README.md", *sorted(ROOT.glob("projects/*/README.md"))],
    ids=lambda path: path.relative_to(ROOT).as_posix(),
)
def test_the_tables_are_those_of_the_results_files(path):
    text = path.read_text(encoding="utf-8")
    assert fill(text, ROOT) == text, f"run: python tools/readme.py {path.relative_to(ROOT)}"


def test_every_link_and_picture_of_the_readme_is_there():
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_every_recipe_named_in_the_readme_is_there():
    for target in re.findall(r"(?<!\S)(?:configs|projects)/\S+?\.yml", README):
        assert (ROOT / target).exists(), target


def test_the_example_of_a_part_registers_and_runs():
    code = re.search(r"```python\n(.*?)```", README, re.DOTALL)[1]
    module = types.ModuleType("fastseek.rerank.neighbour_mean")
    module.__package__ = "fastseek.rerank"
    exec(compile(code, "README.md", "exec"), module.__dict__)
    try:
        random = np.random.default_rng(0)
        scores = -np.sort(-random.normal(size=(3, 6)).astype(np.float32), axis=1)
        indices = np.stack([random.permutation(6) for _ in range(3)])
        ranking = Ranking(list("abc"), list("uvwxyz"), indices, scores)
        queries, gallery = (
            Embeddings(ids, random.normal(size=(len(ids), 4)).astype(np.float32))
            for ids in (list("abc"), list("uvwxyz"))
        )
        better = build("neighbour_mean(width=2)", RERANKERS)(ranking, queries, gallery)
        assert better.provenance["rerank"] == ["neighbour_mean(width=2)"]
        assert (np.sort(better.indices, axis=1) == np.sort(ranking.indices, axis=1)).all()
    finally:
        RERANKERS._obj_map.pop("neighbour_mean")


def test_the_readme_fits_on_three_screens():
    assert len(README.splitlines()) < 120


@pytest.mark.slow
def test_the_commands_run_one_after_the_other_as_they_stand(tmp_path):
    """On the toy gallery and its quick recipe, and with the machine's own Python; nothing else is
    changed.
    """
    images = toy.gallery(tmp_path / "images", classes=5, train=6, query=2, size=48)
    toy.market(tmp_path / "data")
    _vectors(tmp_path / "vectors")
    swaps = {
        "/my/images": str(images / "train"),
        "outputs/": f"{tmp_path}/outputs/",
        "vectors/": f"{tmp_path}/vectors/",
        "run Own/dolg": "run quick/dolg",
        "bagtricks_R50.yml": "configs/quick/bagtricks.yml",
        ".venv/bin/fastseek": f"{sys.executable} -m fastseek",
        "--num-gpus 4": "--num-gpus 1",
    }
    ran = []
    for command in _commands():
        for old, new in swaps.items():
            command = command.replace(old, new)
        ran.append(_run(command, tmp_path))
    assert len(ran) == 4


def _vectors(folder):
    """Two models' embeddings of 120 gallery photos and 15 queries of five classes."""
    folder.mkdir()
    for seed, end in ((1, ""), (2, "2")):
        for side, rows in (("queries", 15), ("gallery", 120)):
            np.save(folder / f"{side}{end}.npy", toy.circle(np.arange(rows) % 5, seed, 0.4, 48))
    lines = [
        f"{row},{row % 5},{split}"
        for split, rows in (("query", 15), ("gallery", 120))
        for row in range(rows)
    ]
    for side, rows in (("queries", 15), ("gallery", 120)):
        (folder / f"{side}.txt").write_text("".join(f"{side[0]}{row:03d}\n" for row in range(rows)))
    (folder / "test.csv").write_text("id\n" + (folder / "queries.txt").read_text())
    (folder / "truth.csv").write_text("\n".join(["id,label,split", *lines]) + "\n")


def _run(command, tmp_path):
    words = shlex.split(command)
    if " train " in command:
        words += ["MODEL.DEVICE", "cpu", "OUTPUT_DIR", str(tmp_path / "outputs" / "reid")]
    env = {
        "PYTHONPATH": str(ROOT / "plugins"),
        "PATH": "/usr/bin:/bin",
        "OMP_NUM_THREADS": "1",
        "HOME": str(tmp_path),
        "FASTREID_DATASETS": str(tmp_path / "data"),
    }
    done = subprocess.run(words, cwd=ROOT, env=env, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    return command
