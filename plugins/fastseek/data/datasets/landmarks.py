"""Porto landmarks with distractors: a small landmark search, query against everything else."""

from __future__ import annotations

import csv
import dataclasses
import os

from ...errors import DataError
from ...io.paths import locate
from ...registry import DATASETS
from ...structures import Item

TASKS = ("retrieval", "index", "recognition")


@DATASETS.register()
class Landmarks:
    """Train on its training photos; search its queries in everything that is not a query.

    Near-duplicate photos share a `group`; photos without a landmark have the label "distractor",
    which no query has.

    Args:
        task: "retrieval" is the above. "index" searches what is neither a query nor trained on, as
            contests do. "recognition" asks for the queries and every second photo without a
            landmark, whose label is then ""; its gallery are the other photos without a landmark,
            by which a recogniser can learn what is none.

    Raises:
        ValueError: an unknown task.
        DataError: `landmarks/labels.csv` is below none of the data roots, or a row is damaged.
    """

    def __init__(self, task: str = "retrieval") -> None:
        if task not in TASKS:
            raise ValueError(f"task must be one of {', '.join(TASKS)}, got {task!r}")
        table = locate(os.path.join("landmarks", "labels.csv"), "the landmark photos")
        self.root = str(table.parent)
        with open(table, encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
        items = [_item(f"{table}:{number}", self.root, row) for number, row in enumerate(rows, 2)]
        self.items = [item for item in items if item.split in ("train", "query")] + _others(
            items, task
        )


def _others(items: list[Item], task: str) -> list[Item]:
    """What stands beside training photos and queries."""
    if task == "recognition":
        nothing = [item for item in items if item.split == "distractor"]
        return [
            dataclasses.replace(item, split=("query", "gallery")[number % 2], label="")
            for number, item in enumerate(nothing)
        ]
    left_out = ("query", "train") if task == "index" else ("query",)
    return [
        dataclasses.replace(item, split="gallery") for item in items if item.split not in left_out
    ]


def _item(where: str, root: str, row: dict[str, str | None]) -> Item:
    name, label, split, group = (
        row.get(column) or "" for column in ("path", "landmark", "split", "view_cluster")
    )
    if not (name and label and split):
        raise DataError(
            f"{where}: expected path, landmark, split and view_cluster, found {list(row.values())}"
        )
    return Item(path=os.path.join(root, name), label=label, group=group, split=split, id=name)
