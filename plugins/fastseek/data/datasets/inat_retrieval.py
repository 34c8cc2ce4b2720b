"""iNaturalist 2018 as data set of retrieval."""

from __future__ import annotations

from ...formats.inat import read_retrieval_split
from ...formats.listed import Listed
from ...registry import DATASETS
from ._benchmark import build_items, compare_counts, find_home, find_part

NAME = "iNaturalist 2018 for retrieval"
FOLDERS = ("inat2018", "iNat2018", "Inaturalist", "inaturalist", "inaturalist2018")
SPLITS = "Inat_dataset_splits"
COUNTS = {"train": 325846, "test": 136093}


@DATASETS.register()
class InatRetrieval:
    """iNaturalist 2018 by the split of Smooth-AP: 5,690 species train, and the images of 2,452 others
    ask for one another.

    Args:
        root: the folder with train_val2018/ and Inat_dataset_splits/ (Inaturalist_train_set1.txt,
            Inaturalist_test_set1.txt); "" looks for inat2018 below the data roots.

    Raises:
        DataError: a list or its images are not there; names what was expected.

    Source: Brown et al., Smooth-AP: Smoothing the Path Towards Large-Scale Image Retrieval, ECCV
        2020 (arXiv 2007.12163)
    Example: inat_retrieval(root='inat2018')
    """

    def __init__(self, root: str = "") -> None:
        home = find_home(root, NAME, FOLDERS, SPLITS, "Inaturalist_test_set1.txt")
        listed = []
        for split in ("train", "test"):
            name = f"Inaturalist_{split}_set1.txt"
            file = find_part(home, NAME, f"{SPLITS}/{name}", name)
            listed += [Listed(path, label, split) for path, label in read_retrieval_split(file)]
        self.root = str(home)
        self.items = build_items(home, "", listed)
        self.protocol = "leave_one_out(recall=(1, 4, 16, 32))"
        compare_counts(NAME, self.items, COUNTS)
