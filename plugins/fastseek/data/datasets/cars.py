"""CARS196 (Stanford Cars) as it is downloaded, in either of its two forms."""

from __future__ import annotations

import pathlib

from ...formats import stanford_cars as lists
from ...formats.listed import Listed
from ...registry import DATASETS
from ._benchmark import build_items, compare_counts, find_home, find_part

NAME = "CARS196"
FOLDERS = ("cars196", "CARS196", "Cars196", "stanford_cars", "cars")
ALL = "cars_annos.mat"
PARTS = {
    "cars_train": ("devkit/cars_train_annos.mat", "cars_train_annos.mat"),
    "cars_test": (
        "devkit/cars_test_annos_withlabels.mat",
        "cars_test_annos_withlabels.mat",
        "cars_test_annos_withlabels (1).mat",
    ),
}
META = ("devkit/cars_meta.mat", "cars_meta.mat")
COUNTS = {"train": 8054, "test": 8131}


@DATASETS.register()
class Cars:
    """CARS196: the classes 1 to 98 train, and the images of the classes 99 to 196 ask for one
    another, in the order of the data set's own list of classes.

    Args:
        root: the folder with cars_annos.mat and car_ims/; or with devkit/, cars_train/, cars_test/
            and cars_test_annos_withlabels.mat; or the one above it. "" looks for cars196 or
            stanford_cars below the data roots.
        boxes: whether an image is only the box of its car; the usual figures are of whole images.

    Raises:
        DataError: a list or its images are not there, or a list is damaged; names what was expected.

    Source: Krause et al., 3D Object Representations for Fine-Grained Categorization, 3dRR 2013; the
        split by Oh Song et al., CVPR 2016 (arXiv 1511.06452)
    Example: cars(root='cars196')
    """

    def __init__(self, root: str = "", boxes: bool = False) -> None:
        home = find_home(root, NAME, FOLDERS, ALL, "devkit", *PARTS)
        if (home / ALL).exists():
            listed = lists.read_annotations(home / ALL)
        else:
            listed = [one for folder in PARTS for one in _read_part(home, folder)]
        self.root = str(home)
        self.items = build_items(home, "", listed, boxes)
        self.protocol = "leave_one_out(recall=(1, 2, 4, 8))"
        compare_counts(NAME, self.items, COUNTS)


def _read_part(home: pathlib.Path, folder: str) -> list[Listed]:
    """The images of cars_train or cars_test, which copies on Kaggle hold once more inside."""
    images = f"{folder}/{folder}" if (home / folder / folder).is_dir() else folder
    find_part(home, NAME, folder)
    table, meta = find_part(home, NAME, *PARTS[folder]), find_part(home, NAME, *META)
    return lists.read_devkit(table, meta, images)
