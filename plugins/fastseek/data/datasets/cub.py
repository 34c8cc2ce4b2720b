"""CUB-200-2011 as it is downloaded."""

from __future__ import annotations

from ...formats import cub as lists
from ...registry import DATASETS
from ._benchmark import build_items, compare_counts, find_home, find_part

NAME = "CUB-200-2011"
FOLDERS = ("CUB_200_2011", "CUB-200-2011", "CUB200", "cub200", "cub")
COUNTS = {"train": 5864, "test": 5924}


@DATASETS.register()
class Cub:
    """Caltech-UCSD Birds 200-2011: the classes 1 to 100 train, and the images of the classes 101 to
    200 ask for one another. The list train_test_split.txt is of classification and not used.

    Args:
        root: the folder with images.txt, image_class_labels.txt, classes.txt and images/, or the one
            above it; "" looks for CUB_200_2011 below the data roots.
        boxes: whether an image is only the box of its bird (bounding_boxes.txt); the usual figures
            are of whole images.

    Raises:
        DataError: a list or its images are not there, or a line is damaged; names what was expected.

    Source: Wah et al., The Caltech-UCSD Birds-200-2011 Dataset, 2011; the split by Oh Song et al.,
        CVPR 2016 (arXiv 1511.06452)
    Example: cub(root='CUB_200_2011')
    """

    def __init__(self, root: str = "", boxes: bool = False) -> None:
        home = find_home(root, NAME, FOLDERS, lists.IMAGES)
        needed = (lists.LABELS, lists.CLASSES, "images", *([lists.BOXES] if boxes else []))
        for name in needed:
            find_part(home, NAME, name)
        self.root = str(home)
        self.items = build_items(home, "images", lists.read_lists(home, boxes), boxes)
        self.protocol = "leave_one_out(recall=(1, 2, 4, 8))"
        compare_counts(NAME, self.items, COUNTS)
