"""The README as a newcomer reads it: its tables, its links and its commands."""

import pathlib
import re
import shutil

import pytest

from fastseek.report.readme import fill
from pages import blocks, make_home, run_command, run_python

ROOT = pathlib.Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


# Blocks of code that are not run here, by how they begin, and why.
UNRUN: dict[str, str] = {}


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


def test_the_readme_fits_on_three_screens():
    assert len(README.splitlines()) < 120


def test_every_block_of_code_is_run_or_named_here():
    used, ran = set(), 0
    for block in blocks(ROOT / "README.md"):
        if block.language == "python" or block.text.startswith("fastseek"):
            ran += 1
            continue
        used |= {begin for begin in UNRUN if block.text.startswith(begin)}
        assert any(block.text.startswith(begin) for begin in UNRUN), block.text
    assert used == set(UNRUN), "these excuses are not needed any more"
    assert ran >= 3


def test_the_first_page_of_the_docs_shows_the_commands_of_the_readme():
    """So docs/index.md needs no run of its own."""
    shown = [line for block in blocks(ROOT / "docs/index.md") for line in block.commands]
    ours = [line for block in blocks(ROOT / "README.md") for line in block.commands]
    assert shown and set(shown) <= set(ours)


@pytest.mark.slow
def test_the_commands_and_the_python_run_one_after_the_other(tmp_path, monkeypatch, capsys):
    """On the toy gallery and its quick recipe, in this process; nothing else is changed."""
    swaps = make_home(tmp_path, monkeypatch)
    shutil.copytree(swaps["/my/images"], "my/images")
    shutil.copy(swaps["/my/one.jpg"], "my/one.jpg")
    for block in blocks(ROOT / "README.md"):
        if block.language == "python":
            run_python(block)
        elif block.text.startswith("fastseek"):
            for command in block.commands:
                run_command(command, swaps)
