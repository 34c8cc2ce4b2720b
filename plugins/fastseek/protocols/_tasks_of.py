"""A data set to its tasks, whether it names a protocol or makes them itself."""

from __future__ import annotations

from ..errors import DataError
from ..registry import PROTOCOLS, Dataset, ScoredDataset, TaskedDataset, build
from ..structures import Task
from ._sides import splits_of


def tasks_of(dataset: Dataset | TaskedDataset, protocol: str = "") -> list[Task]:
    """What a data set asks.

    Args:
        dataset: what DATASETS builds.
        protocol: a call string of PROTOCOLS that is used instead of the data set's own.

    Raises:
        DataError: there is nothing to ask, or two tasks have one name.
        UsageError: the protocol cannot be built.
    """
    if not protocol and isinstance(dataset, TaskedDataset):
        tasks = dataset.tasks()
    else:
        call = protocol or protocol_of(dataset)
        tasks = build(call, PROTOCOLS).tasks(dataset.items)  # type: ignore[union-attr]
    names = [task.name for task in tasks]
    if not tasks or len(set(names)) < len(names):
        raise DataError(f"a benchmark has tasks whose names differ, got {names}")
    return tasks


def protocol_of(dataset: Dataset | TaskedDataset) -> str:
    """The call string of a data set's protocol: its own, or the one that its splits suggest; ""
    where it makes its tasks itself.

    Raises:
        DataError: it has neither "test" images nor queries and a gallery.
    """
    if isinstance(dataset, TaskedDataset):
        return ""
    if isinstance(dataset, ScoredDataset) and dataset.protocol:
        return dataset.protocol
    found = splits_of(dataset.items)
    if {"query", "gallery"} <= found:
        return "query_gallery()"
    if "test" in found:
        return "leave_one_out()"
    raise DataError(
        "the data set says no protocol, and has neither test images nor queries and a gallery;"
        f" its splits are {', '.join(sorted(found)) or 'none'}"
    )
