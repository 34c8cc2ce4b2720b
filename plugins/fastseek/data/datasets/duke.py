"""DukeMTMC-reID as it was published."""

from __future__ import annotations

from ...formats.reid_names import DUKE
from ...registry import DATASETS
from ._benchmark import build_items, compare_counts, find_home, find_part
from ._reid_folders import FOLDERS, list_folders

NAME = "DukeMTMC-reID"
HOMES = ("DukeMTMC-reID", "dukemtmc", "dukemtmcreid", "duke")
COUNTS = {"train": 16522, "query": 2228, "gallery": 17661}


@DATASETS.register()
class Duke:
    """DukeMTMC-reID: as `market`, with eight cameras. Its authors withdrew the images in 2019.

    Args:
        root: the folder with bounding_box_train/, query/ and bounding_box_test/, or the one above
            it; "" looks for DukeMTMC-reID below the data roots.

    Raises:
        DataError: a folder is not there, or none of its images is named as Duke's are.

    Source: Ristani et al., Performance Measures and a Data Set for Multi-Target, Multi-Camera
        Tracking, ECCVW 2016 (arXiv 1609.01775)
    Example: duke(root='DukeMTMC-reID')
    """

    def __init__(self, root: str = "") -> None:
        home = find_home(root, NAME, HOMES, FOLDERS["train"])
        for folder in FOLDERS.values():
            find_part(home, NAME, folder)
        self.root = str(home)
        self.items = build_items(home, "", list_folders(home, FOLDERS, DUKE))
        self.protocol = "query_gallery(camera=True)"
        compare_counts(NAME, self.items, COUNTS)
