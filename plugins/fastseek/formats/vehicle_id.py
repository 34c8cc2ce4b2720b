"""PKU VehicleID: train_list.txt and test_list_<size>.txt."""

from __future__ import annotations

from ..io.csv_rows import parse_integer
from ..io.paths import PathLike
from .listed import Listed, read_words

SIZES = (800, 1600, 2400, 3200, 6000, 13164)  # vehicles of the test lists


def read_list(path: PathLike, split: str) -> list[Listed]:
    """The images of a list, whose lines are image and vehicle; image 0000001 is 0000001.jpg.

    Raises:
        DataError: a line is another; names file and line.
    """
    found = []
    for line, (image, vehicle) in read_words(path, ("image", "vehicle")):
        number = parse_integer(vehicle, path, line, "the vehicle")
        found.append(Listed(f"{image}.jpg", str(number), split))
    return found
