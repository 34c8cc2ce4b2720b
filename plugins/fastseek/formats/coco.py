"""Annotations in COCO's format (Lin et al. 2014): the boxes of images."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..errors import DataError
from ..io.json_files import read_json
from ..io.paths import PathLike
from .listed import Box


class CocoBox(NamedTuple):
    """One annotated box.

    Args:
        image: the file name of the image.
        label: the name of its category, or its number where the file names none.
        box: left, top, right, bottom in pixels.
        number: of the annotation.
    """

    image: str
    label: str
    box: Box
    number: str


class CocoBoxes(NamedTuple):
    """The boxes of a file, and how many were left out.

    Args:
        boxes: in the order of the file.
        crowds: boxes around many things at once (iscrowd).
        small: boxes with a side of less than the asked-for pixels.
    """

    boxes: list[CocoBox]
    crowds: int
    small: int


def read_boxes(path: PathLike, least: float = 4.0) -> CocoBoxes:
    """Read {"images": [{"id", "file_name"}], "annotations": [{"image_id", "bbox", "category_id"}],
    "categories": [{"id", "name"}]}; bbox is left, top, width, height.

    Args:
        path: the file.
        least: boxes with a side of less pixels are left out.

    Raises:
        DataError: the file is another, or an annotation is of no image; names it.
    """
    page = read_json(path)
    try:
        files = {one["id"]: str(one["file_name"]) for one in page["images"]}
        names = {one["id"]: str(one["name"]) for one in page.get("categories", ())}
        annotations = list(page["annotations"])
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f'{path}: not in COCO\'s format ({error!r}): expected "images" with id and file_name, and'
            ' "annotations" with image_id, bbox and category_id'
        ) from error
    kept = [one for one in annotations if not _is_crowd(one)]
    boxes = [_box(one, files, names, f"{path}: annotation {row}") for row, one in enumerate(kept)]
    large = [one for one in boxes if _shorter_side(one.box) >= least]
    return CocoBoxes(large, len(annotations) - len(kept), len(boxes) - len(large))


def _is_crowd(one: Any) -> bool:
    return isinstance(one, dict) and bool(one.get("iscrowd"))


def _shorter_side(box: Box) -> float:
    return min(box[2] - box[0], box[3] - box[1])


def _box(one: Any, files: dict[Any, str], names: dict[Any, str], where: str) -> CocoBox:
    try:
        left, top, width, height = map(float, one["bbox"])
        category = one["category_id"]
        image = files[one["image_id"]]
        number = str(one.get("id", where.rpartition(" ")[2]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            f"{where}: expected image_id of an image, bbox of four numbers and category_id"
            f" ({error!r})"
        ) from error
    label = names.get(category, str(category))
    return CocoBox(image, label, (left, top, left + width, top + height), number)
