"""Porto landmarks with distractors: a small landmark search, query against everything else."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence

from ...errors import DataError
from ...io import csv_rows
from ...io.paths import locate_below_roots
from ...registry import DATASETS
from ...structures import Item

COLUMNS = ("path", "landmark", "split", "view_cluster")
TASKS = ("retrieval", "index", "recognition")


@DATASETS.register()
class Landmarks:
    """Porto landmarks: train on the training images; search the queries in everything that is no
    query.

    Near-duplicate images share a `group`; images without a landmark have the label "distractor",
    which no query has.

    Args:
        task: "retrieval" is the above. "index" searches what is neither a query nor trained on, as
            contests do. "recognition" asks for the queries and every second image without a
            landmark, whose label is then ""; its gallery are the other images without a landmark,
            by which a recogniser can learn what is none.

    Raises:
        ValueError: an unknown task.
        DataError: `landmarks/labels.csv` is below none of the data roots, or a row is damaged.

    Example: landmarks(task='retrieval')
    """

    def __init__(self, task: str = "retrieval") -> None:
        if task not in TASKS:
            raise ValueError(f"task must be one of {', '.join(TASKS)}, got {task!r}")
        table = locate_below_roots(os.path.join("landmarks", "labels.csv"), "the landmark images")
        self.root = str(table.parent)
        rows = csv_rows.read(table, COLUMNS, allow_mark=True)
        items = [_item(f"{table}:{line}", self.root, values) for line, values in rows]
        self.items = [item for item in items if item.split in ("train", "query")] + _others(
            items, task
        )


def _others(items: list[Item], task: str) -> list[Item]:
    """What stands beside training images and queries."""
    if task == "recognition":
        nothing = [item for item in items if item.split == "distractor"]
        return [
            # Every second one: both halves come from all places of the list.
            dataclasses.replace(item, split=("query", "gallery")[number % 2], label="")
            for number, item in enumerate(nothing)
        ]
    left_out = ("query", "train") if task == "index" else ("query",)
    return [
        dataclasses.replace(item, split="gallery") for item in items if item.split not in left_out
    ]


def _item(where: str, root: str, values: Sequence[str]) -> Item:
    name, label, split, group = values
    if not (name and label and split):
        raise DataError(f"{where}: expected {', '.join(COLUMNS)}, found {list(values)}")
    return Item(path=os.path.join(root, name), label=label, group=group, split=split, id=name)
