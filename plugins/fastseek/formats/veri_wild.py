"""VERI-Wild: vehicle_info.txt, train_list.txt and test_<size>[_query].txt."""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import DataError
from ..io.paths import PathLike
from .listed import Listed, read_lines, read_words

SIZES = (3000, 5000, 10000)  # vehicles of the test lists


def read_cameras(path: PathLike) -> dict[str, str]:
    """Image ("00001/000001") -> its camera, from vehicle_info.txt, whose lines are
    "id/image;camera;time;model;type;color" below a header.

    Raises:
        DataError: a line is another; names file and line.
    """
    found = {}
    for line, text in enumerate(read_lines(path)[1:], 2):
        image, *rest = text.strip().split(";")
        if not image and not rest:
            continue
        if "/" not in image or not rest or not rest[0].strip().isdigit():
            raise DataError(f"{path}:{line}: expected id/image;camera;…, found {text[:80]!r}")
        found[image.strip()] = str(int(rest[0]))
    return found


def read_list(path: PathLike, split: str, cameras: Mapping[str, str]) -> list[Listed]:
    """The images of a list, named "vehicle/image.jpg".

    Args:
        path: the list.
        split: what its images are.
        cameras: of `read_cameras`.

    Raises:
        DataError: a line is another, or an image has no camera; names file and line.
    """
    found = []
    for line, (name,) in read_words(path, ("vehicle/image.jpg",)):
        vehicle, _, image = name.partition("/")
        stem = image.rpartition(".")[0] or image
        if not vehicle.isdigit() or not image:
            raise DataError(f"{path}:{line}: expected vehicle/image.jpg, found {name!r}")
        if f"{vehicle}/{stem}" not in cameras:
            raise DataError(f"{path}:{line}: {name} has no line in vehicle_info.txt")
        label, camera = str(int(vehicle)), cameras[f"{vehicle}/{stem}"]
        found.append(Listed(f"{vehicle}/{stem}.jpg", label, split, camera))
    return found
