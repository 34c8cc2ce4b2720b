"""Grocery Store Dataset: images of 81 products taken in shops (Klasson et al., WACV 2019)."""

from __future__ import annotations

import dataclasses
import pathlib

from ...errors import DataError
from ...io import csv_rows
from ...registry import DATASETS
from ...structures import Item
from . import _fetch


@DATASETS.register()
class Grocery:
    """Grocery Store Dataset, images of 81 products in shops: train on the training images, search
    them with the test images.

    Args:
        fine: label by product (81 classes); else by kind of product (42 classes).

    Raises:
        DataError: `grocery/dataset` is below none of the data roots and cannot be downloaded, or a
            list is damaged.

    Source: Klasson et al., A Hierarchical Grocery Store Image Dataset with Visual and Semantic
        Labels, WACV 2019 (arXiv 1901.00711)
    Example: grocery(fine=True)
    """

    def __init__(self, fine: bool = True) -> None:
        home = _fetch.grocery()
        self.root = str(home)
        names = _class_names(home / "classes.csv")
        train = _read_split(home, "train", "train", fine, names)
        # Images are found again among those that were trained on; val.txt is left out.
        gallery = [dataclasses.replace(item, split="gallery") for item in train]
        self.items = train + _read_split(home, "test", "query", fine, names) + gallery


def _class_names(table: pathlib.Path) -> list[dict[str, str]]:
    """[fine, coarse]: code as it stands in the lists -> name."""
    return [
        {
            code: name
            for _, (code, name) in csv_rows.read(
                table, (f"{kind} ID (int)", f"{kind} Name (str)"), allow_mark=True
            )
        }
        for kind in ("Class", "Coarse Class")
    ]


def _read_split(
    home: pathlib.Path, part: str, split: str, fine: bool, names: list[dict[str, str]]
) -> list[Item]:
    table = home / f"{part}.txt"
    items = []
    for number, line in enumerate(table.read_text(encoding="utf-8").splitlines(), 1):
        try:
            name, *codes = (cell.strip() for cell in line.split(","))
            labels = [known[code] for known, code in zip(names, codes, strict=True)]
        except (KeyError, ValueError) as error:
            raise DataError(
                f"{table}:{number}: expected 'path, class, coarse class', found {line!r}"
            ) from error
        items.append(
            Item(path=str(home / name), label=labels[0 if fine else 1], split=split, id=name)
        )
    return items
