"""Porto landmarks with distractors: a small landmark search, query against everything else."""

from __future__ import annotations

import csv
import dataclasses
import os

from ...errors import DataError
from ...files import locate
from ...registry import DATASETS
from ...structures import Item


@DATASETS.register()
class Landmarks:
    """Train on its training photos; search its queries in everything that is not a query.

    Near-duplicate photos share a `group`; photos without a landmark have the label "distractor", which no query has.

    Raises:
        DataError: `landmarks/labels.csv` is below none of the data roots, or a row is damaged.
    """

    def __init__(self) -> None:
        table = locate(os.path.join("landmarks", "labels.csv"), "the landmark photos")
        self.root = str(table.parent)
        with open(table, encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
        items = []
        for number, row in enumerate(rows, 2):
            try:
                items.append(Item(path=os.path.join(self.root, row["path"]), label=row["landmark"], id=row["path"],
                                  group=row["view_cluster"], split=row["split"]))
            except (KeyError, TypeError) as error:
                raise DataError(f"{table}:{number}: expected path, landmark, split and view_cluster") from error
        self.items = [item for item in items if item.split in ("train", "query")]
        self.items += [dataclasses.replace(item, split="gallery") for item in items if item.split != "query"]
