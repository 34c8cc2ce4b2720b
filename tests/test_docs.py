"""The documentation as a reader uses it: its tables, links, recipes, example and commands."""

from __future__ import annotations

import pathlib
import re
import types
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
import yaml

from fastseek.cli._reference_pages import keys_page, parts_page
from fastseek.config import recipe
from fastseek.registry import RERANKERS, build
from fastseek.report.readme import fill
from fastseek.structures import Embeddings, Ranking
from pages import Block, blocks, make_home, run_command, run_python

ROOT = pathlib.Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
# Pages whose commands need what an earlier page of the same row has made.
ROWS = (
    ("quickstart.md", "scale.md"),
    ("try.md", "own-images.md", "train.md"),
    ("adapt.md",),
    ("living-index.md",),
    ("models.md",),
    ("recipes.md",),
    ("install.md", "contributing.md"),
    ("protocols.md",),
)
# Pages whose blocks are run by a test of their own.
ELSEWHERE = {
    "index.md": "tests/test_readme.py",
    "classes.md": "tests/test_class_recipes.py",
    "local.md": "tests/inference/pretrained/test_embed_locals.py",
    "python.md": "tests/test_api.py",
    "upstream.md": "tests/training/test_upstream.py",
    "parts.md": "tests/registry/test_part_texts.py",
}
# Commands that are not run here, by what they hold, and why.
UNRUN = {
    "make ": "the targets are checked to exist; the environment and the suite take minutes",
    "pip install": "it changes the environment",
    ". .venv": "it changes the shell",
    "--help": "every help is read in tests/cli/test_command.py",
    "recipes check": "every recipe is built in tests/config and tests/projects",
    "projects/": "plans and contests of the projects run in tests/projects and tests/workflows",
    "torchrun": "several processes run in tests/distributed and tests/workflows/test_train_net.py",
    "fastseek export": "it costs half of this test; tests/inference/test_export.py",
    "self-train": "rounds run in tests/workflows and tests/test_class_recipes.py",
    "subjects recipe.yml": "it wants a trained model; tests/inference/test_subjects.py",
    "s3://bucket": "no store can be asked here; tests/data/test_sources.py",
    "milvus://host:19530": "no cluster can be asked here; tests/index/test_databases.py",
    "fastseek bench": "it wants a benchmark's files; tests/cli/test_bench.py",
    "--plugin my_parts.py": "the file is the reader's; tests/cli/test_command.py",
}
# Blocks that are no commands and no program: (page, how they begin) -> where they are checked.
TEXTS = {
    ("architecture.md", "README.md  "): "the test of the layout, below",
    ("contributing.md", '"""Mean of the scores'): "the test of the example of a part, below",
    ("own-images.md", "DATASETS.NAMES"): "tests/data/datasets/test_manifest.py",
    ("recipes.md", "PLUGINS:"): "the test of the recipe, below",
    ("scale.md", "SEEK:"): "tests/modeling/losses/test_class_shard.py",
    ("scale.md", "# torchrun: 8 processes"): "tests/inference/test_embed_parts.py",
}


def read(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def commands(page: str) -> list[str]:
    """Every command of the page's shell blocks."""
    return [line for block in blocks(DOCS / page) if is_shell(block) for line in block.commands]


def is_shell(block: Block) -> bool:
    return block.language == "bash" or not block.language and block.text.startswith("fastseek ")


def is_run(command: str) -> bool:
    return not any(word in command for word in UNRUN)


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
    layout = next(one.text for one in blocks(DOCS / "architecture.md")).split(
        "plugins/fastseek/\n"
    )[1]
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
    code = next(one.text for one in blocks(DOCS / "contributing.md") if one.language == "python")
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


def test_the_recipe_of_the_page_is_one_that_can_be_read(tmp_path):
    text = next(block.text for block in blocks(DOCS / "recipes.md") if block.language == "yaml")
    (tmp_path / "recipe.yml").write_text(text)
    cfg = recipe.load(str(tmp_path / "recipe.yml"))
    assert cfg.SEEK.RERANK == ["k_reciprocal(k1=20, k2=6, lambda_=0.3)"]


def test_every_block_of_code_is_run_or_said_to_be_checked_elsewhere():
    """Nothing is passed over silently, and no excuse outlives what it excuses."""
    run = {name for row in ROWS for name in row}
    used, left, ran = set(), [], 0
    for page in PAGES:
        if page.name in ELSEWHERE:
            continue
        for block in blocks(page):
            text = next((key for key in TEXTS if is_text(block, key)), None)
            if text:
                used.add(text)
            elif is_shell(block):
                for command in block.commands:
                    used |= {word for word in UNRUN if word in command}
                    ran += is_run(command)
                    if is_run(command) and page.name not in run:
                        left.append((page.name, command))
            elif block.language == "python" and page.name in run:
                ran += 1
            else:
                left.append((page.name, block.text[:80]))
    assert left == [], "run them in a row of ROWS, or say in this file why not"
    assert {*UNRUN, *TEXTS} - used == set(), "these excuses are not needed any more"
    assert ran >= 20


def is_text(block: Block, key: tuple[str, str]) -> bool:
    return block.page == key[0] and block.text.startswith(key[1])


def test_what_is_run_elsewhere_is_there():
    for name, test in ELSEWHERE.items():
        assert (DOCS / name).exists() and name in (ROOT / test).read_text(encoding="utf-8"), name


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_the_commands_run_one_after_the_other_as_they_stand(row, tmp_path, monkeypatch, capsys):
    """In an empty folder, on the toy gallery and quick recipes; nothing else is changed."""
    swaps = make_home(tmp_path, monkeypatch)
    done = []
    for page in row:
        for block in blocks(DOCS / page):
            if any(is_text(block, key) for key in TEXTS):
                continue
            if block.language == "python":
                run_python(block)
            elif is_shell(block):
                new = [one for one in block.commands if is_run(one) and one not in done]
                done += new
                for command in new:
                    run_command(command, swaps)
    assert done == list(dict.fromkeys(done))
