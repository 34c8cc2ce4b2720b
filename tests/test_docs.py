"""The documentation as a reader uses it: its tables, links, recipes, example and commands."""

from __future__ import annotations

import os
import pathlib
import re
import shlex
import subprocess
import sys
import types
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
import yaml

import toy
from fastseek.cli._reference_pages import keys_page, parts_page
from fastseek.registry import RERANKERS, build
from fastseek.report.readme import fill
from fastseek.structures import Embeddings, Ranking

ROOT = pathlib.Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
# Pages whose commands need what an earlier page of the same row has made.
ROWS = (("quickstart.md", "index.md", "scale.md"), ("own-images.md", "train.md"), ("recipes.md",))
# Its commands run in one process, in test_class_recipes.py.
IN_PROCESS = ("classes.md",)
# Run by the tests of the recipes, of the projects' small twins, and of making the environment.
ELSEWHERE = ("recipes check", "projects/", "make ", "pip ", ". ", "pre-commit")
QUICK = {
    "Own/dolg": "quick/dolg",
    "Grocery/dolg_mobilenetv2": "quick/dolg",
    "bagtricks_R50.yml": "quick/bagtricks",
    "--num-gpus 4": "--num-gpus 1",
    "--nproc-per-node 4": "--nproc-per-node 2",
}


def read(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def blocks(page: str, language: str) -> list[str]:
    """The fenced blocks of one language on a page."""
    return re.findall(rf"^```{language}\n(.*?)^```", read(page), re.DOTALL | re.MULTILINE)


def commands(page: str) -> list[str]:
    """Every line of the page's shell blocks, continuation lines joined, comments left out."""
    lines = "".join(blocks(page, "bash")).replace("\\\n", " ").splitlines()
    return [" ".join(line.split("  #")[0].split()) for line in lines if line.strip()]


def anchor(heading: str) -> str:
    """What a link to a heading says."""
    return re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-")


def page_name(path: pathlib.Path) -> str:
    return path.name


def test_the_menu_lists_every_page_once():
    menu = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    listed = [name for entry in menu for name in entry.values()]
    assert sorted(listed) == [page.name for page in PAGES]


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_the_tables_are_those_of_the_results_files(page):
    text = page.read_text(encoding="utf-8")
    assert fill(text, ROOT) == text, f"run: python tools/readme.py docs/{page.name}"


@pytest.mark.parametrize(("page", "write"), [("parts.md", parts_page), ("keys.md", keys_page)])
def test_the_pages_made_from_the_package_are_up_to_date(page, write):
    assert read(page) == write(), "run: make docs"


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_every_link_leads_to_a_page_or_a_heading(page):
    for target, heading in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", read(page.name)):
        path = DOCS / target if target else page
        assert path.exists(), target
        if heading:
            names = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
            assert heading in map(anchor, names), heading


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_every_file_of_the_repository_that_a_page_names_is_there(page):
    named = re.findall(
        r"(?<![\w/.])((?:configs|projects|benchmarks|tests|tools)/[\w/]+(?:\.\w+)+)",
        read(page.name),
    )
    assert [name for name in named if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_every_make_target_that_a_page_names_exists(page):
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    named = re.findall(r"`?make ([a-z]+(?:-[a-z]+)*)(?:`| PYTHON| +#|$)", read(page.name), re.M)
    assert [name for name in named if name not in targets] == []


@pytest.mark.parametrize("picture", sorted(DOCS.glob("*.svg")), ids=page_name)
def test_every_picture_is_described_for_those_who_do_not_see_it(picture):
    root = ElementTree.parse(picture).getroot()
    parts = {element.tag.rpartition("}")[2]: element.text for element in root}
    assert parts["title"].strip() and parts["desc"].strip()


def test_the_picture_of_the_data_flow_names_only_rooms_and_parts_that_exist():
    package = ROOT / "plugins" / "fastseek"
    known = {path.name for path in package.rglob("*") if path.is_dir()}
    texts = ElementTree.parse(DOCS / "data-flow.svg").getroot().iter()
    verbs = [text.text for text in texts if "verb" in text.get("class", "").split()]
    assert len(verbs) > 10
    assert [verb for verb in verbs if verb not in {*known, ".npy"}] == []


def test_the_layout_of_the_architecture_page_names_only_folders_that_exist():
    layout = blocks("architecture.md", "text")[0].split("plugins/fastseek/\n")[1]
    package = ROOT / "plugins" / "fastseek"
    named = [
        word
        for line in layout.splitlines()
        for word in re.split(r"\s{2,}", line.strip())[0].split()
        if word.endswith("/")
    ]
    assert len(named) > 15
    assert [name for name in named if not (package / name).is_dir()] == []
    rooms = {path.name for path in package.iterdir() if (path / "__init__.py").exists()}
    assert rooms - {name.rstrip("/") for name in named} == set()


def test_the_example_of_a_part_registers_and_runs_before_another_part():
    code = blocks("contributing.md", "python")[0]
    module = types.ModuleType("fastseek.rerank.neighbor_mean")
    exec(compile(code, "contributing.md", "exec"), module.__dict__)
    try:
        random = np.random.default_rng(0)
        scores = -np.sort(-random.uniform(-1, 1, size=(3, 6)).astype(np.float32), axis=1)
        indices = np.stack([random.permutation(6) for _ in range(3)])
        ranking = Ranking(list("abc"), list("uvwxyz"), indices, scores)
        queries = Embeddings(list("abc"), random.normal(size=(3, 4)).astype(np.float32))
        gallery = Embeddings(list("uvwxyz"), random.normal(size=(6, 4)).astype(np.float32))
        better = ranking
        for call in ("neighbor_mean(width=2)", "k_reciprocal(k1=3, k2=2)"):
            better = build(call, RERANKERS)(better, queries, gallery)
            same = np.sort(better.indices, axis=1) == np.sort(ranking.indices, axis=1)
            assert same.all(), call
        names = [call.split("(")[0] for call in better.provenance["rerank"]]
        assert names == ["neighbor_mean", "k_reciprocal"]
    finally:
        RERANKERS._obj_map.pop("neighbor_mean")


def test_every_command_is_run_here_or_elsewhere():
    run = {*IN_PROCESS, *(name for row in ROWS for name in row)}
    left = [
        (page.name, command)
        for page in PAGES
        if page.name not in run
        for command in commands(page.name)
        if not any(word in command for word in ELSEWHERE) and not command.endswith("--help")
    ]
    assert left == []


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_the_commands_run_one_after_the_other_as_they_stand(row, tmp_path):
    """From an empty folder, on the toy gallery and quick recipes; nothing else is changed."""
    images = toy.gallery(tmp_path / "data" / "toy", classes=5, train=6, query=2, size=48)
    toy.market(tmp_path / "data")
    swaps = {"/my/images": str(images / "train"), "/my/questions": str(images / "query"), **QUICK}
    home = tmp_path / "empty"
    home.mkdir()
    done = []
    for page in row:
        for code in blocks(page, "python"):
            run([sys.executable, "-c", code], home, tmp_path)
        for command in commands(page):
            if command in done or any(word in command for word in ELSEWHERE):
                continue
            if page == "index.md" and "--data" in command:
                continue  # it is one of own-images.md
            done.append(command)
            for old, new in swaps.items():
                command = command.replace(old, new)
            run(words_of(command, tmp_path), home, tmp_path)
    assert len(done) >= 3


def words_of(command: str, tmp_path: pathlib.Path) -> list[str]:
    """The command with this machine's Python, on the CPU."""
    words = shlex.split(command)
    if words[0] == "torchrun":
        words[:1] = [sys.executable, "-m", "torch.distributed.run"]
        words = [str(ROOT / word) if word.startswith("tools/") else word for word in words]
        words = [
            word.replace("quick/bagtricks", str(ROOT / "configs/quick/bagtricks.yml"))
            for word in words
        ]
    elif words[0] == "fastseek":
        words[:1] = [sys.executable, "-m", "fastseek"]
    if "train_net.py" in command or " train " in command and "--plan" not in command:
        words += ["MODEL.DEVICE", "cpu"]
        if "OUTPUT_DIR" not in words:
            words += ["OUTPUT_DIR", str(tmp_path / "reid")]
    return words


def run(words: list[str], home: pathlib.Path, tmp_path: pathlib.Path) -> None:
    env = {
        "PYTHONPATH": str(ROOT / "plugins"),
        "PATH": os.environ["PATH"],
        "OMP_NUM_THREADS": "1",
        "HOME": str(tmp_path),
        "FASTREID_DATASETS": str(tmp_path / "data"),
    }
    done = subprocess.run(
        words, cwd=home, env=env, capture_output=True, text=True, timeout=200, check=False
    )
    told = f"{shlex.join(words)}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    assert done.returncode == 0, told
