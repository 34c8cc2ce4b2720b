"""The lists of the iNaturalist challenges, with place and date."""

from __future__ import annotations

import collections
import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

from ...errors import DataError
from ...io.json_files import read_json
from ...io.paths import PathLike, locate
from ...registry import DATASETS
from ...structures import Item, parse_geolocation

MEANS = {
    "latitude": "lat",
    "longitude": "lon",
    "date": "date",
    "location_uncertainty": "location_uncertainty",
}


LISTS = (
    *((f"train{year}.json", f"val{year}.json") for year in (2017, 2018, 2019)),
    ("train.json", "val.json"),
    ("train_mini.json", "val.json"),
)


@DATASETS.register()
class Inat:
    """Images of train.json and val.json, as the iNaturalist challenges of 2017 to 2021 give them
    (COCO's format, that of 2021 with latitude, longitude and date).

    An image's class is its category's number, its id the file_name, its place stands in `Item.meta`
    as lat, lon, date and location_uncertainty, the box of its annotation as box. Images of the list of tests without annotations have
    no class. Of a folder that holds the lists of a year (train2018.json and val2018.json, or
    train.json, else train_mini.json, and val.json) both are read, and the training images are
    searched, too. An Item takes about 1 kB of memory: 3 GB for the 2.7 million images of the whole
    training list, 0.5 GB for that of `train_mini.json`.

    Args:
        train: list of training images, or the folder of a year's lists, as it stands or below one of
            the data roots; "" for none.
        query: list of images to classify, such as val.json; "" for none.
        root: the folder file names start from; that of each list when not given.

    Raises:
        ValueError: neither list. DataError: a list is not there, not of that format, or has several
            annotations of one image; names it and what is wrong.

    Source: Van Horn et al., Benchmarking Representation Learning for Natural World Image
        Collections, CVPR 2021 (arXiv 2103.16483)
    Example: inat(train='train_mini.json', query='val.json')
    """

    def __init__(self, train: str = "", query: str = "", root: str | None = None) -> None:
        if not (train or query):
            raise ValueError(
                "inat needs a list: train='inat2021/train_mini.json', query='inat2021/val.json'"
            )
        of_year = bool(train) and not query and locate(train, "the list of images").is_dir()
        if of_year:
            train, query = _find_lists(train)
        first = locate(train or query, "the list of images")
        self.root = str(locate(root, "the images") if root else first.parent)
        self.items = [
            item
            for split, path in (("train", train), ("query", query))
            if path
            for item in _items(locate(path, "the list of images"), split, root)
        ]
        if of_year:
            trained = [item for item in self.items if item.split == "train"]
            self.items += [dataclasses.replace(item, split="gallery") for item in trained]


def _find_lists(train: str) -> tuple[str, str]:
    """The two lists of a year in a folder.

    Raises:
        DataError: the folder has none.
    """
    home = locate(train, "the list of images")
    for names in LISTS:
        files = [home / name for name in names]
        if all(file.is_file() for file in files):
            return str(files[0]), str(files[1])
    known = "; ".join(" and ".join(names) for names in LISTS)
    raise DataError(f"{home}: expected the lists of a year of iNaturalist: {known}")


def _items(table: pathlib.Path, split: str, root: str | None) -> list[Item]:
    home, page = table.parent if root is None else locate(root, "the images"), read_json(table)
    try:
        known = _annotations(page.get("annotations", ()), table)
        rows = [(one["file_name"], *_label_and_meta(one, known)) for one in page["images"]]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise DataError(
            f'{table}: not a list of iNat\'s ({error!r}): expected "images" with id and file_name, '
            '"annotations" with image_id and category_id'
        ) from error
    for name, _, meta in rows:
        parse_geolocation(meta, f"{table}: {name}")
    return [_item(home, name, label, split, meta) for name, label, meta in rows]


def _annotations(found: Sequence[dict[str, Any]], table: pathlib.Path) -> dict[Any, dict[str, Any]]:
    """Image id -> its annotation.

    Raises:
        DataError: an image has several, as in COCO's own lists: it would be of one class only.
    """
    known = {one["image_id"]: one for one in found}
    if len(known) < len(found):
        counts = collections.Counter(one["image_id"] for one in found)
        several = [image for image, count in counts.items() if count > 1]
        raise DataError(
            f"{table}: {len(several)} images have several annotations, such as image_id"
            f" {several[0]!r} with {counts[several[0]]}, and an item has one class: cut their boxes"
            " out into images of their own, or list one box an image in a table for manifest"
        )
    return known


def _label_and_meta(
    image: dict[str, Any], known: dict[Any, dict[str, Any]]
) -> tuple[str, dict[str, Any]]:
    """The class and what else is told of an image; its box as shares of its sides."""
    meta, annotation = _meta(image), known.get(image["id"])
    if annotation is None:
        return "", meta
    if annotation.get("bbox"):
        left, top, wide, high = map(float, annotation["bbox"])
        width, height = float(image["width"]), float(image["height"])
        meta["box"] = (left / width, top / height, (left + wide) / width, (top + high) / height)
    # Five digits: sorted as text, classes stand in the order of their numbers.
    return f"{annotation['category_id']:05d}", meta


def _meta(one: dict[str, Any]) -> dict[str, Any]:
    return {ours: one[theirs] for theirs, ours in MEANS.items() if one.get(theirs) is not None}


def _item(home: PathLike, name: str, label: str, split: str, meta: dict[str, Any]) -> Item:
    return Item(path=str(pathlib.Path(home) / name), label=label, split=split, id=name, meta=meta)
