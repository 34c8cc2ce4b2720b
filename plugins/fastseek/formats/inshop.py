"""In-shop Clothes Retrieval of DeepFashion: list_eval_partition.txt and list_bbox_inshop.txt."""

from __future__ import annotations

from ..errors import DataError
from ..io.csv_rows import parse_integer
from ..io.paths import PathLike
from .listed import Box, Listed, check_header, read_words

COLUMNS = ("image_name", "item_id", "evaluation_status")
BOX_COLUMNS = ("image_name", "clothes_type", "pose_type", "x_1", "y_1", "x_2", "y_2")
STATES = ("train", "query", "gallery")


def read_partition(path: PathLike) -> list[Listed]:
    """The images of list_eval_partition.txt; the label is the item_id, and an image is named as
    there ("img/WOMEN/Dresses/id_00000002/02_1_front.jpg").

    Raises:
        DataError: the header or a line is another; names file and line.
    """
    check_header(path, 2, COLUMNS)
    found = []
    for line, (name, label, state) in read_words(path, COLUMNS, head=2):
        if state not in STATES:
            raise DataError(
                f"{path}:{line}: evaluation_status must be one of {', '.join(STATES)}, found"
                f" {state!r}"
            )
        found.append(Listed(name, label, state))
    return found


def read_boxes(path: PathLike) -> dict[str, Box]:
    """The boxes of list_bbox_inshop.txt: image -> left, top, right, bottom in pixels.

    Raises:
        DataError: the header or a line is another; names file and line.
    """
    check_header(path, 2, BOX_COLUMNS)
    found = {}
    for line, (name, _, _, *sides) in read_words(path, BOX_COLUMNS, head=2):
        left, top, right, bottom = (
            float(parse_integer(side, path, line, "a side of the box")) for side in sides
        )
        found[name] = (left, top, right, bottom)
    return found
