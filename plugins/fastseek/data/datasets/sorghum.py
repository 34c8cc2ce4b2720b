"""Sorghum-100 as Kaggle gives it (sorghum-id-fgvc-9, FGVC9)."""

from __future__ import annotations

import dataclasses
import logging
import os

import numpy as np

from ...errors import DataError
from ...formats import sorghum as lists
from ...io.paths import locate
from ...registry import DATASETS
from ...structures import Item
from ._query_share import hold_out

logger = logging.getLogger(__name__)
TRAIN, TEST = "train_images", "test"
TABLE = "train_cultivar_mapping.csv"


@DATASETS.register()
class Sorghum:
    """Sorghum-100: the training images with their cultivar, a share of every cultivar held out as
    queries.

    The contest's test has no labels: its images join with `test=True`, without a class, in the split
    "gallery", from where a plan of rounds takes them (SPLIT: gallery). Rows of the list without a
    cultivar are left out and named in the log.

    Args:
        root: the folder with train_cultivar_mapping.csv, train_images/ and test/, as it stands or
            below one of the data roots.
        query: the share of every cultivar that is held out, spread evenly over its images by name.
        test: whether the images of the test join.

    Raises:
        ValueError: no share between 0 and 1. DataError: a list or folder is not there.

    Source: Sorghum-100 Cultivar Identification, FGVC9, 2022 (kaggle.com/c/sorghum-id-fgvc-9)
    Example: sorghum(query=0.1)
    """

    def __init__(self, root: str = "sorghum", query: float = 0.1, test: bool = False) -> None:
        home = locate(root, "Sorghum-100")
        found = lists.read_train(home / TABLE)
        for name in found.left_out:
            logger.warning("%s: %s has no cultivar and is left out", home / TABLE, name)
        self.root = str(home)
        images = [
            _item(self.root, f"{TRAIN}/{name}", label, "train")
            for name, label in sorted(found.labels.items())
        ]
        held = hold_out(np.unique([image.label for image in images], return_inverse=True)[1], query)
        pairs = list(zip(images, held.tolist(), strict=True))
        asked = [dataclasses.replace(image, split="query") for image, asks in pairs if asks]
        self.items = [*(image for image, asks in pairs if not asks), *asked]
        if test:
            folder = home / TEST
            if not folder.is_dir():
                raise DataError(
                    f"{folder}: there is no such folder: unpack the contest's test there"
                )
            names = sorted(entry.name for entry in os.scandir(folder) if entry.is_file())
            self.items += [
                _item(self.root, f"{TEST}/{name}", "", "gallery")
                for name in names
                if not name.startswith(".")
            ]


def _item(root: str, name: str, label: str, split: str) -> Item:
    return Item(path=os.path.join(root, name), label=label, split=split, id=name)
