"""UKBench as it is downloaded: 10,200 images, four of each object."""

from __future__ import annotations

import os
import re

from ...errors import DataError
from ...formats.listed import Listed
from ...registry import DATASETS
from ._benchmark import build_items, compare_counts, find_home
from ._image_scan import scan_images

NAME = "UKBench"
FOLDERS = ("ukbench", "UKBench", "UKbench")
SIZE = 4
COUNTS = {"test": 10200}
_NUMBER = re.compile(r"ukbench(\d+)", re.IGNORECASE)


@DATASETS.register()
class Ukbench:
    """UKBench: images ukbench00000.jpg to ukbench10199.jpg, four in a row of each object; each image
    asks all, itself among them.

    The figure is the N-S score: how many of the first four are right, at most 4.

    Args:
        root: the folder of the images, or the one above it (full/); "" looks for ukbench below the
            data roots.

    Raises:
        DataError: no images are there, one is called otherwise, or an object has not four.

    Source: Nistér and Stewénius, Scalable Recognition with a Vocabulary Tree, CVPR 2006
    Example: ukbench(root='ukbench')
    """

    def __init__(self, root: str = "") -> None:
        home = find_home(root, NAME, FOLDERS, "full", "images", "ukbench00000.jpg")
        base = home / "full" if (home / "full").is_dir() else home
        found = scan_images(str(base))
        found.report()
        numbers = {_number_of(path): os.path.relpath(path, home) for path in found.images}
        order = sorted(numbers)
        for start in range(0, len(order), SIZE):
            first = order[start] // SIZE * SIZE
            if order[start : start + SIZE] != list(range(first, first + SIZE)):
                raise DataError(
                    f"{base}: expected ukbench{first:05d}.jpg to ukbench{first + SIZE - 1:05d}.jpg,"
                    " four of each object"
                )
        listed = [Listed(numbers[one], str(one // SIZE), "test") for one in order]
        self.root = str(home)
        self.items = build_items(home, "", listed)
        self.protocol = "ukbench()"
        compare_counts(NAME, self.items, COUNTS)


def _number_of(path: str) -> int:
    found = _NUMBER.match(os.path.basename(path))
    if not found:
        raise DataError(f"{path}: {NAME} names its images as ukbench00000.jpg")
    return int(found[1])
