"""MSMT17 as it is downloaded, version 1 or 2."""

from __future__ import annotations

from ...formats import msmt17 as lists
from ...registry import DATASETS
from ._benchmark import build_items, compare_counts, find_home, find_part

NAME = "MSMT17"
HOMES = ("MSMT17_V1", "MSMT17_V2", "MSMT17", "msmt17")
# Version 2 has other folders, in which faces are blurred.
TRAIN, TEST = ("train", "mask_train_v2"), ("test", "mask_test_v2")
LISTS = {"train": "list_train.txt", "query": "list_query.txt", "gallery": "list_gallery.txt"}
VALIDATION = "list_val.txt"
TRAINED, VALIDATED = 30248, 2373  # images
COUNTS = {"query": 11659, "gallery": 82161}


@DATASETS.register()
class Msmt17:
    """MSMT17: a query asks for its person in images of other cameras.

    Args:
        root: the folder with list_train.txt, list_query.txt, list_gallery.txt and train/ and test/
            (version 1) or mask_train_v2/ and mask_test_v2/ (version 2), or the one above it; ""
            looks for MSMT17_V1, MSMT17_V2 or MSMT17 below the data roots.
        validation: whether the images of list_val.txt are trained on too.

    Raises:
        DataError: a list or its images are not there, or a line is damaged; names what was expected.

    Source: Wei et al., Person Transfer GAN to Bridge Domain Gap for Person Re-Identification, CVPR
        2018 (arXiv 1711.08565)
    Example: msmt17(root='MSMT17_V1')
    """

    def __init__(self, root: str = "", validation: bool = False) -> None:
        home = find_home(root, NAME, HOMES, *LISTS.values())
        train, test = (find_part(home, NAME, *names).name for names in (TRAIN, TEST))
        wanted = [(name, split) for split, name in LISTS.items()]
        wanted += [(VALIDATION, "train")] if validation else []
        listed = [
            one
            for name, split in wanted
            for one in lists.read_list(
                find_part(home, NAME, name), train if split == "train" else test, split
            )
        ]
        self.root = str(home)
        self.items = build_items(home, "", listed)
        self.protocol = "query_gallery(camera=True)"
        trained = TRAINED + (VALIDATED if validation else 0)
        compare_counts(NAME, self.items, {"train": trained, **COUNTS})
