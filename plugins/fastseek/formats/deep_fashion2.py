"""DeepFashion2: one JSON file an image, with the clothes in it."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from typing import Any

from ..errors import DataError
from ..io.json_files import read_json
from ..io.paths import PathLike
from .listed import Listed

SOURCES = {"user": "query", "shop": "gallery"}


def read_folder(annos: PathLike, train: bool) -> list[Listed]:
    """The clothes of all images of a folder annos/, one by one; the label is pair_id and style.

    Clothes of style 0 belong to no pair: those of shops are searched too, without a label, others
    are left out.

    Args:
        annos: the folder; 000001.json tells of 000001.jpg.
        train: whether they are trained on; else customers' clothes ask for those of shops.

    Returns:
        The clothes in the order of images and items; the group is "user" or "shop".

    Raises:
        DataError: a file is another; names it.
    """
    found = []
    for path in sorted(pathlib.Path(annos).glob("*.json")):
        found += _read_image(path, train)
    return found


def _read_image(path: pathlib.Path, train: bool) -> list[Listed]:
    page = read_json(path)
    try:
        source, pair = str(page["source"]), int(page["pair_id"])
        split = "train" if train else SOURCES[source]
        told = Listed(f"{path.stem}.jpg", f"{pair:06d}", split, source)
        found = [
            _read_item(page[name], told._replace(part=name))
            for name in sorted(page)
            if name.startswith("item")
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{path}: not an annotation of DeepFashion2 ({error!r}): expected source (user or"
            " shop), pair_id, and of each item style and bounding_box"
        ) from error
    return [one for one in found if one.label or one.split == "gallery"]


def _read_item(item: Mapping[str, Any], told: Listed) -> Listed:
    """A garment of an image, of which `told` knows the rest; the label is its pair."""
    style = int(item["style"])
    left, top, right, bottom = map(float, item["bounding_box"])
    label = f"{told.label}_{style}" if style > 0 else ""
    return told._replace(label=label, box=(left, top, right, bottom))
