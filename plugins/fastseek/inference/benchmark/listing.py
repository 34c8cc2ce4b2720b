"""Which benchmarks there are, how each is scored, and whether its files are here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ...errors import FastSeekError
from ...io.paths import data_roots
from ...protocols import protocol_of, tasks_of
from ...registry import DATASETS, build, read_docstrings
from ...structures import Task

# Members of DATASETS that read whatever a user has, or draw it; none is a published benchmark.
GENERAL = """coco_boxes extended folder grocery image_folder landmarks manifest planted_places rendered
    semi_inat sorghum webdataset gldv2 inat""".split()


class Benchmark(NamedTuple):
    """A benchmark and what is known of it here.

    Args:
        name: of its part in DATASETS.
        what: what it is, in a sentence.
        protocol: how it is scored; "" where that is known with its files only.
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
        if name in names or (not names and name not in GENERAL):
            yield _look_for(name, doc.what)


def describe_benchmarks(names: Sequence[str] = ()) -> str:
    """The list as text."""
    lines = [f"data roots: {', '.join(map(str, data_roots())) or 'none: set FASTREID_DATASETS'}"]
    for one in list_benchmarks(names):
        lines += ["", f"{one.name}: {one.what}"]
        lines += [f"  protocol: {one.protocol}"] if one.protocol else []
        lines += [f"  {'found: ' if one.found else 'not found: '}{one.here}"]
    return "\n".join(lines)


def _look_for(name: str, what: str) -> Benchmark:
    try:
        data = build(f"{name}()", DATASETS)
        told = protocol_of(data) or _describe_tasks(tasks_of(data))
        root, count = getattr(data, "root", ""), len(data.items)
        return Benchmark(name, what, told, f"{root} ({count} images)", True)
    except FastSeekError as error:
        return Benchmark(name, what, "", str(error), False)


def _describe_tasks(tasks: Sequence[Task]) -> str:
    """The protocol of tasks that a data set makes itself."""
    names = ", ".join(task.name for task in tasks if task.name)
    return tasks[0].protocol + (f": {names}" if names else "")
