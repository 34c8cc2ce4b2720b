"""RP2K as it is downloaded."""

from __future__ import annotations

from ...registry import DATASETS
from ...structures.item_table import join_tables
from ._benchmark import compare_counts, find_home, find_part
from .folder import list_images

NAME = "RP2K"
FOLDERS = ("rp2k_dataset", "RP2K", "rp2k", "RP2K_rp2k_dataset")
COUNTS = {"train": 344854, "test": 39457}


@DATASETS.register()
class Rp2k:
    """RP2K, retail products on shelves: the training images train, and the test images ask for one
    another; products of the test are known from training.

    Args:
        root: the folder with all/train/ and all/test/, or with train/ and test/, each one folder a
            product; or the one above it. "" looks for rp2k_dataset or RP2K below the data roots.

    Raises:
        DataError: a folder is not there; names what was expected.

    Source: Peng, Xiao and Li, RP2K: A Large-Scale Retail Product Dataset for Fine-Grained Image
        Classification, 2020 (arXiv 2006.12634)
    Example: rp2k(root='rp2k_dataset')
    """

    def __init__(self, root: str = "") -> None:
        home = find_home(root, NAME, FOLDERS, "all/train", "train")
        if (home / "all").is_dir():
            home = home / "all"
        parts = []
        for split in ("train", "test"):
            find_part(home, NAME, split)
            parts.append(list_images(str(home), split, split))
        self.root = str(home)
        self.items = join_tables(parts)
        self.protocol = "leave_one_out()"
        compare_counts(NAME, self.items, COUNTS)
