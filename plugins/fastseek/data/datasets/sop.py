"""Stanford Online Products as it is downloaded."""

from __future__ import annotations

from ...formats import online_products
from ...registry import DATASETS
from ._benchmark import build_items, compare_counts, find_home, find_part

NAME = "Stanford Online Products"
FOLDERS = ("Stanford_Online_Products", "SOP", "sop", "online_products")
LISTS = {"train": "Ebay_train.txt", "test": "Ebay_test.txt"}
COUNTS = {"train": 59551, "test": 60502}


@DATASETS.register()
class Sop:
    """Stanford Online Products: 11,318 products train, and the images of 11,316 others ask for one
    another.

    Args:
        root: the folder with Ebay_train.txt, Ebay_test.txt and the folders of images
            (bicycle_final …), or the one above it; "" looks for Stanford_Online_Products or SOP
            below the data roots.

    Raises:
        DataError: a list or its images are not there, or a line is damaged; names what was expected.

    Source: Oh Song et al., Deep Metric Learning via Lifted Structured Feature Embedding, CVPR 2016
        (arXiv 1511.06452)
    Example: sop(root='Stanford_Online_Products')
    """

    def __init__(self, root: str = "") -> None:
        home = find_home(root, NAME, FOLDERS, *LISTS.values())
        listed = [
            one
            for split, name in LISTS.items()
            for one in online_products.read_list(find_part(home, NAME, name), split)
        ]
        self.root = str(home)
        self.items = build_items(home, "", listed)
        self.protocol = "leave_one_out(recall=(1, 10, 100, 1000))"
        compare_counts(NAME, self.items, COUNTS)
