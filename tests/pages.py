"""Pages of documentation as tests see them: their blocks of code, run in this process."""

from __future__ import annotations

import dataclasses
import logging
import os
import pathlib
import re
import shlex

import toy
from fastseek import cli

ROOT = pathlib.Path(__file__).parents[1]
# What the commands are given instead of what a reader has.
SWAPS = {
    ".venv/bin/fastseek": "fastseek",
    "Own/dolg": "quick/dolg",
    "Grocery/dolg_mobilenetv2": "quick/dolg",
    "bagtricks_R50.yml": "quick/bagtricks",
    # several processes are the matter of tests/distributed
    "--num-gpus 4": "--num-gpus 1",
    "--num-gpus 2": "--num-gpus 1",
}
# Verbs whose recipe is changed behind the options.
TRAINS = {"run", "train"}


@dataclasses.dataclass(frozen=True)
class Block:
    """A block of code; `language` is "" where it is indented and has none."""

    page: str
    language: str
    text: str

    @property
    def commands(self) -> list[str]:
        """The lines of a shell block, continuation lines joined, comments left out."""
        lines = re.sub(r"\\\n\s*", " ", self.text).splitlines()
        found = [line.split("  #")[0].strip() for line in lines]
        return [line for line in found if line and not line.startswith("#")]


def blocks(path: pathlib.Path) -> list[Block]:
    """Every block of code of a page, fenced and indented, in order."""
    text = path.read_text(encoding="utf-8")
    fence = r"^```(?P<language>\w*)\n(?P<fenced>.*?)^```"
    indent = r"(?P<indented>^ {4}\S[^\n]*\n(?:^ {4}[^\n]*\n|^\n(?= {4}))*)"
    found = []
    for match in re.finditer(f"{fence}|{indent}", text, re.DOTALL | re.MULTILINE):
        if match["indented"]:
            before = text[: match.start()].rstrip("\n").rpartition("\n")[2]
            # a line that goes on an entry of a list is text
            if not re.match(r"\s*([-*]|\d+\.) |    \S", before):
                plain = re.sub(r"^ {4}", "", match["indented"], flags=re.MULTILINE)
                found.append(Block(path.name, "", plain))
        else:
            found.append(Block(path.name, match["language"], match["fenced"]))
    return found


def make_home(folder: pathlib.Path, monkeypatch) -> dict[str, str]:
    """Make the images that the commands of a page are run on, and an empty working folder.

    Returns:
        what stands in a command -> what it is replaced by.
    """
    images = toy.gallery(folder / "data" / "toy", classes=5, train=6, query=2, size=48)
    toy.market(folder / "data")
    home = folder / "home"
    home.mkdir()
    monkeypatch.chdir(home)
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("FASTREID_DATASETS", str(folder / "data"))
    monkeypatch.setattr("fastseek.cli._allocator.keep_memory", lambda: True)
    monkeypatch.setattr("webbrowser.open", lambda *_, **__: False)
    return {
        "/my/images": str(images / "train"),
        "/my/questions": str(images / "query"),
        "/my/one.jpg": str(min((images / "query").rglob("*.jpg"))),
        **SWAPS,
    }


def run_command(command: str, swaps: dict[str, str]) -> None:
    """Do what a line of the shell says, `fastseek VERB …`, in this process."""
    for old, new in swaps.items():
        command = command.replace(old, new)
    _, verb, *words = shlex.split(command)
    if verb in TRAINS and "--plan" not in words:
        words += ["SOLVER.MAX_EPOCH", "1"]
    if verb == "train":
        words += ["MODEL.DEVICE", "cpu"]
        if not {"OUTPUT_DIR", "--out"} & set(words):
            words += ["OUTPUT_DIR", "outputs/trained"]
    try:
        cli.call_verb(verb, words)
    except BaseException as error:
        error.add_note(f"fastseek {verb} {shlex.join(words)}")
        raise
    finally:
        logging.getLogger("fastseek").handlers.clear()


def run_python(block: Block) -> None:
    """Run a block of Python as a script of its own, in the working folder."""
    exec(compile(block.text, f"{block.page} in {os.getcwd()}", "exec"), {"__name__": "__main__"})
