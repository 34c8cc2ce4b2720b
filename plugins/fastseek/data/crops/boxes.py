"""The box a detector drew around the subject."""

from __future__ import annotations

import logging
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ...errors import DataError
from ...io.digests import sha256
from ...io.json_files import read_json
from ...io.paths import locate
from ...registry import CROPS
from ...structures import Item

logger = logging.getLogger(__name__)
Box = tuple[float, float, float, float]


@CROPS.register()
class Boxes:
    """The best box of every image, grown by a margin; the whole image where there is none (iNat
    Challenge 2021).

    Boxes come from a file in COCO's format, `{"images": [{"id", "file_name", "width", "height"}],
    "annotations": [{"image_id", "bbox": [left, top, width, height], "score"}]}`, in pixels of the
    image as it is looked at (turned upright). An image is found by its id or by any end of its path
    ("train/cat/1.jpg"). Images the file does not tell of are asked for `meta["box"]`, the shares
    "left top right bottom" of width and height: text, as in a manifest, or numbers. Several boxes
    of one image: the highest score, the first of equal ones. A box without score counts as 1.

    Args:
        file: as it stands or below one of the data roots; "" takes `meta["box"]` alone.
        margin: what the box grows by on every side, a share of its width or height; it stays inside
            the image.
        score: boxes below it are left out.

    Raises:
        ValueError: an illegal margin or score.

    Source: iNat Challenge 2021 (FGVC8), first place
    Example: boxes(file='boxes.json', margin=0.1)
    """

    def __init__(self, file: str = "", margin: float = 0.1, score: float = 0.3) -> None:
        if margin < 0 or not 0 <= score <= 1:
            raise ValueError(
                f"margin must not be negative and score must be in [0, 1], got {margin} and {score}"
            )
        self.file, self.margin, self.score = file, margin, score

    @property
    def digest(self) -> str:
        """SHA-256 of the file, "" without one.

        Raises:
            DataError: the file is not there.
        """
        return sha256(locate(self.file, "the boxes")) if self.file else ""

    def __call__(self, items: Sequence[Item]) -> np.ndarray:
        """Items -> float32 [N, 4]: left, top, right and bottom as shares of width and height; NaN
        for the whole image.

        Raises:
            DataError: the file is damaged, a box cannot be, or no image has one.
        """
        known = read_best_boxes(locate(self.file, "the boxes"), self.score) if self.file else {}
        found = np.full((len(items), 4), np.nan, np.float32)
        for row, item in enumerate(items):
            box = _of_file(item, known) or _of_meta(item)
            if box:
                found[row] = grow_box(box, self.margin)
        logger.info(
            "%d of %d images have a box, the others are seen whole twice",
            int((~np.isnan(found[:, 0])).sum()),
            len(items),
        )
        return found


def read_best_boxes(path: pathlib.Path, score: float) -> dict[str, Box]:
    """File name -> its best box, shares of width and height, out of a file in COCO's format.

    Raises:
        DataError: the file does not hold that.
    """
    page = read_json(path)
    found: dict[str, tuple[float, Box]] = {}
    try:
        images = {
            one["id"]: (one["file_name"], one["width"], one["height"]) for one in page["images"]
        }
        for number, one in enumerate(page["annotations"]):
            sure = float(one.get("score", 1))
            name, width, height = images[one["image_id"]]
            # Strictly above: of equal scores the first box stays.
            if sure >= score and sure > found.get(name, (-1.0,))[0]:
                found[name] = (
                    sure,
                    _shares(one["bbox"], width, height, f"{path}: annotation {number} of {name}"),
                )
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f'{path}: not in COCO\'s format ({error!r}): expected "images" with id, file_name,'
            ' width, height and "annotations" with image_id, bbox, score'
        ) from error
    return {name: box for name, (_, box) in found.items()}


def grow_box(box: Box, margin: float) -> Box:
    """A box with a margin on every side, cut off at the image's edge."""
    left, top, right, bottom = box
    x, y = margin * (right - left), margin * (bottom - top)
    return max(0.0, left - x), max(0.0, top - y), min(1.0, right + x), min(1.0, bottom + y)


def _shares(box: Sequence[float], width: float, height: float, where: str) -> Box:
    left, top, wide, high = map(float, box)
    return _clip_box(
        (left / width, top / height, (left + wide) / width, (top + high) / height), where
    )


def _clip_box(box: Sequence[float], where: str) -> Box:
    """A box inside the image; detectors draw a little beyond its edge."""
    left, top, right, bottom = (min(1.0, max(0.0, float(side))) for side in box)
    if not (left < right and top < bottom):
        raise DataError(f"{where}: the box {tuple(box)} has no area inside the image")
    return left, top, right, bottom


def _of_file(item: Item, known: dict[str, Box]) -> Box | None:
    return next((known[name] for name in _names(item) if name in known), None) if known else None


def _names(item: Item) -> Iterator[str]:
    """What an image may be called: its id, then its path and every end of it, longest first."""
    yield item.id
    parts = pathlib.PurePath(item.path).as_posix().split("/")
    # A detector writes the path as it was given, from any folder up.
    for start in range(len(parts)):
        yield "/".join(parts[start:])


def _of_meta(item: Item) -> Box | None:
    given: Any = item.meta.get("box")
    if given is None or given == "":
        return None
    try:
        left, top, right, bottom = map(
            float, given.replace(",", " ").split() if isinstance(given, str) else given
        )
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{item.id}: box is {given!r}; expected four shares, left top right bottom"
        ) from error
    return _clip_box((left, top, right, bottom), f"{item.id}: box")
