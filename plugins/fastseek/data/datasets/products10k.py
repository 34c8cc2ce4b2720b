"""Products-10K as Kaggle gives it."""

from __future__ import annotations

from ...formats import products10k as lists
from ...registry import DATASETS
from ._benchmark import build_items, compare_counts, find_home, find_part

NAME = "Products-10K"
FOLDERS = ("products-10k", "Products-10K", "products10k", "Products10K", "Product10K")
TEST = ("test_kaggletest.csv", "test.csv", "kaggletest.csv")
TRAINED, TESTED = 141931, 55376  # images


@DATASETS.register()
class Products10k:
    """Products-10K: the test images ask for training images of their product; all products are
    known from training.

    Args:
        root: the folder with train.csv, the labelled list test_kaggletest.csv (or test.csv), train/
            and test/, or the one above it; "" looks for products-10k below the data roots.
        disjoint: whether the test images ask for one another instead, and train.csv is trained on
            only.

    Raises:
        DataError: a list or its images are not there, or a line is damaged; names what was expected.

    Source: Bai et al., Products-10K: A Large-scale Product Recognition Dataset, 2020
        (arXiv 2008.10545)
    Example: products10k(root='products-10k')
    """

    def __init__(self, root: str = "", disjoint: bool = False) -> None:
        home = find_home(root, NAME, FOLDERS, "train.csv")
        table, test = find_part(home, NAME, "train.csv"), find_part(home, NAME, *TEST)
        for folder in ("train", "test"):
            find_part(home, NAME, folder)
        trained = [
            one._replace(name=f"train/{one.name}") for one in lists.read_list(table, "train")
        ]
        asked = [
            one._replace(name=f"test/{one.name}")
            for one in lists.read_list(test, "test" if disjoint else "query")
        ]
        searched = [] if disjoint else [one._replace(split="gallery") for one in trained]
        self.root = str(home)
        self.items = build_items(home, "", [*trained, *asked, *searched])
        self.protocol = "leave_one_out()" if disjoint else "query_gallery(camera=False)"
        compare_counts(NAME, self.items, {"train": TRAINED, asked[0].split: TESTED})
