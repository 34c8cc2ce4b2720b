"""A part of an image as a location of its own: one text that goes wherever a file's name goes.

crop:///images/cats/1.jpg!/12,30,100,200        a box of a file, in pixels of the upright image
crop:///images/cats/1.jpg!/12,30,100,200/tail   the same; what follows is for people
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import NamedTuple

from ..errors import DataError

CROP = "crop"
_NUMBER = r"-?\d+(?:\.\d+)?"
_CROP = re.compile(rf"{CROP}://(.+)!/({_NUMBER}(?:,{_NUMBER}){{3}})(?:/.*)?", re.DOTALL)


class Crop(NamedTuple):
    """A box of an image.

    Args:
        file: the location of the whole image.
        box: left, top, right, bottom in pixels.
    """

    file: str
    box: tuple[float, float, float, float]

    @property
    def shape(self) -> float:
        """Width / height of the box."""
        left, top, right, bottom = self.box
        return (right - left) / (bottom - top)


def is_crop(location: str) -> bool:
    """Whether a location is a part of an image."""
    return location.startswith(f"{CROP}://")


def spell_crop(file: str, box: Sequence[float]) -> str:
    """The location of a box of an image.

    Args:
        file: the whole image.
        box: left, top, right, bottom in pixels.
    """
    return f"{CROP}://{file}!/{spell_box(box)}"


def spell_box(box: Sequence[float]) -> str:
    """A box as it stands in a location.

    Raises:
        DataError: it has no area.
    """
    left, top, right, bottom = (float(side) for side in box)
    if not all(map(math.isfinite, box)) or left >= right or top >= bottom:
        raise DataError(
            f"box {tuple(box)}: must be left, top, right, bottom with left < right and top < bottom"
        )
    return ",".join(f"{side:.3f}".rstrip("0").rstrip(".") for side in (left, top, right, bottom))


def parse_crop(location: str) -> Crop | None:
    """The image and the box of a location; None where it is a whole image."""
    if not is_crop(location):
        return None
    found = _CROP.fullmatch(location)
    if found is None:
        return None
    left, top, right, bottom = map(float, found[2].split(","))
    return Crop(found[1], (left, top, right, bottom))


def whole_image(location: str) -> str:
    """The location of the image that a part is of; another location as it is."""
    crop = parse_crop(location)
    return location if crop is None else crop.file
