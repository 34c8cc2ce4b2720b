"""INRIA Holidays as it is downloaded: 1,491 images whose numbers tell what belongs together."""

from __future__ import annotations

import os
import pathlib

from ...errors import DataError
from ...formats.listed import Listed
from ...registry import DATASETS
from ._benchmark import build_items, compare_counts, find_home
from ._image_scan import scan_images

NAME = "INRIA Holidays"
FOLDERS = ("holidays", "Holidays", "INRIA_Holidays", "jpg")
GROUP = 100  # numbers of a group; its first image asks
COUNTS = {"query": 500, "gallery": 1491}


@DATASETS.register()
class Holidays:
    """INRIA Holidays: images 100000.jpg, 100001.jpg, …; every image whose number ends in 00 asks for
    the others of its hundred.

    The figure is mAP with trapezoids, as the official script counts it; the query is taken out of
    its list. Many images are stored lying on their side; their EXIF does not say so, and figures of
    papers that turned them by hand are higher.

    Args:
        root: the folder of the images, or the one above it; "" looks for holidays below the data
            roots.

    Raises:
        DataError: no images are there, one is called otherwise, or a group has no query.

    Source: Jégou, Douze and Schmid, Hamming Embedding and Weak Geometric Consistency for Large Scale
        Image Search, ECCV 2008
    Example: holidays(root='holidays')
    """

    def __init__(self, root: str = "") -> None:
        home = find_home(root, NAME, FOLDERS, "jpg", "images", "100000.jpg")
        found = scan_images(str(home))
        found.report()
        numbers = {os.path.relpath(path, home): _number_of(path) for path in found.images}
        names = sorted(numbers, key=numbers.__getitem__)
        gallery = [Listed(name, str(numbers[name] // GROUP), "gallery") for name in names]
        queries = [one._replace(split="query") for one in gallery if not numbers[one.name] % GROUP]
        alone = sorted({one.label for one in gallery} - {one.label for one in queries})
        if alone:
            raise DataError(f"{home}: expected {alone[0]}00.jpg, the query of its group")
        self.root = str(home)
        self.items = build_items(home, "", [*queries, *gallery])
        self.protocol = "holidays()"
        compare_counts(NAME, self.items, COUNTS)


def _number_of(path: str) -> int:
    stem = pathlib.PurePath(path).stem
    if not stem.isdigit():
        raise DataError(f"{path}: {NAME} names its images as 100000.jpg")
    return int(stem)
