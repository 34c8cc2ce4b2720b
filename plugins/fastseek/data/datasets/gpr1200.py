"""GPR1200 as it is downloaded: 12,000 images whose names begin with their class."""

from __future__ import annotations

import os

from ...errors import DataError
from ...formats.listed import Listed
from ...registry import DATASETS
from ...structures import Task
from ._benchmark import build_items, compare_counts, find_home
from ._image_scan import scan_images
from ._listed_tasks import Asked, leave_one_out_task

NAME = "GPR1200"
FOLDERS = ("GPR1200", "gpr1200")
COUNTS = {"test": 12000}
DEFINITION = "each image asks for the nine others of its class"
COUNTED = "; the query itself counts as found, as in the official script"


@DATASETS.register()
class Gpr1200:
    """GPR1200: 1,200 classes of ten images, six domains; each image asks for all others, and nothing
    is trained on.

    The class is what stands before the first "_" of a file's name ("0_1078114.jpg"). The figure is
    mAP over the whole gallery. The official script leaves the query in the list, where it stands
    first, so its mAP is higher: `count_query` gives that one.

    Args:
        root: the folder of the images, or the one above it; "" looks for GPR1200 below the data
            roots.
        count_query: whether the query itself is searched and counts as right.

    Raises:
        DataError: no images are there, or one has no class in its name.

    Source: Schall et al., GPR1200: A Benchmark for General-Purpose Content-Based Image Retrieval,
        MMM 2022 (arXiv 2111.13122)
    Example: gpr1200(root='GPR1200', count_query=True)
    """

    def __init__(self, root: str = "", count_query: bool = False) -> None:
        home = find_home(root, NAME, FOLDERS, "images", "")
        found = scan_images(str(home))
        found.report()
        names = [os.path.relpath(path, home).replace(os.sep, "/") for path in found.images]
        listed = [Listed(name, _class_of(name, str(home)), "test") for name in names]
        self.root = str(home)
        self.items = build_items(home, "", listed)
        self.count_query = count_query
        compare_counts(NAME, self.items, COUNTS)

    def tasks(self) -> list[Task]:
        """The one task."""
        told = DEFINITION + (COUNTED if self.count_query else "")
        name = f"gpr1200(count_query={self.count_query})"
        asked = Asked(name, told, ("map()", "recall(1)"))
        return [leave_one_out_task(asked, self.items, self.count_query)]


def _class_of(name: str, root: str) -> str:
    label, divider, _ = os.path.basename(name).partition("_")
    if not divider or not label.isdigit():
        raise DataError(
            f"{root}: {name}: expected a class before the first _, such as 0_1078114.jpg"
        )
    return label
