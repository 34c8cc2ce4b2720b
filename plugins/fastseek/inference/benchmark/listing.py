"""Which benchmarks there are, how each is scored, and whether its files are here."""

from __future__ import annotations

import ast
import pathlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ...data import datasets
from ...errors import FastSeekError
from ...io.paths import data_roots
from ...protocols import protocol_of, tasks_of
from ...registry import DATASETS, build, read_docstrings
from ...structures import Task


class Benchmark(NamedTuple):
    """A benchmark and what is known of it here.

    Args:
        name: of its part in DATASETS.
        what: what it is, in a sentence.
        protocol: how it is scored; where it is not there, what its part may say.
        here: where it lies and how many images it has, or what was expected and is not there.
        found: whether it is there.
    """

    name: str
    what: str
    protocol: str
    here: str
    found: bool


def list_benchmarks(names: Sequence[str] = ()) -> Iterator[Benchmark]:
    """Look for every benchmark below the data roots; one that is found is read.

    Args:
        names: those that are looked for; all when none is given.
    """
    docs = read_docstrings(DATASETS)
    for name, doc in docs.items():
        known = read_protocols(name)
        if name in names or (not names and known):
            yield _look_for(name, doc.what, " or ".join(known))


def describe_benchmarks(names: Sequence[str] = ()) -> str:
    """The list as text."""
    lines = [f"data roots: {', '.join(map(str, data_roots())) or 'none: set FASTREID_DATASETS'}"]
    for one in list_benchmarks(names):
        lines += ["", f"{one.name}: {one.what}"]
        lines += [f"  protocol: {one.protocol}"] if one.protocol else []
        lines += [f"  {'found: ' if one.found else 'not found: '}{one.here}"]
    return "\n".join(lines)


def read_protocols(name: str) -> list[str]:
    """The protocols that a data set's file names, without importing it; none for one that reads
    whatever a user has.
    """
    file = pathlib.Path(datasets.__file__).with_name(f"{name}.py")
    if not file.is_file():  # of a plugin
        return []
    nodes = list(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
    made = any(isinstance(node, ast.FunctionDef) and node.name == "tasks" for node in nodes)
    given = [
        text.value
        for node in nodes
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "attr", "") == "protocol"
        for text in ast.walk(node.value)
        if isinstance(text, ast.Constant) and "(" in str(text.value)
    ]
    return [str(one) for one in given] + (["its own tasks"] if made else [])


def _look_for(name: str, what: str, protocol: str) -> Benchmark:
    try:
        data = build(f"{name}()", DATASETS)
        told = protocol_of(data) or _describe_tasks(tasks_of(data))
        root, count = getattr(data, "root", ""), len(data.items)
        return Benchmark(name, what, told, f"{root} ({count} images)", True)
    except FastSeekError as error:
        return Benchmark(name, what, protocol, str(error), False)


def _describe_tasks(tasks: Sequence[Task]) -> str:
    """The protocol of tasks that a data set makes itself."""
    names = ", ".join(task.name for task in tasks if task.name)
    return tasks[0].protocol + (f": {names}" if names else "")
