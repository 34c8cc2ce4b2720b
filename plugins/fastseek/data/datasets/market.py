"""Market-1501 as it is downloaded."""

from __future__ import annotations

from ...formats.reid_names import MARKET
from ...registry import DATASETS
from ._benchmark import build_items, compare_counts, find_home, find_part
from ._reid_folders import FOLDERS, list_folders

NAME = "Market-1501"
HOMES = ("Market-1501-v15.09.15", "Market-1501", "market1501", "Market1501", "market")
MORE = "images"  # of the 500k distractors
COUNTS = {"train": 12936, "query": 3368, "gallery": 15913}


@DATASETS.register()
class Market:
    """Market-1501, or any set with its folders and names: a query asks for its person in images of
    other cameras.

    The label is the person, the group the camera, both as the file is called. Junk (person -1) is
    left out; person 0 answers no query. Files that are called otherwise are passed over and named
    in the log.

    Args:
        root: the folder with bounding_box_train/, query/ and bounding_box_test/, or the one above
            it; "" looks for Market-1501-v15.09.15 or market1501 below the data roots.
        distractors: whether the 500k distractors in images/ are searched too.

    Raises:
        DataError: a folder is not there, or none of its images is named as Market's are.

    Source: Zheng et al., Scalable Person Re-identification: A Benchmark, ICCV 2015
    Example: market(root='Market-1501-v15.09.15')
    """

    def __init__(self, root: str = "", distractors: bool = False) -> None:
        home = find_home(root, NAME, HOMES, FOLDERS["train"])
        for folder in (*FOLDERS.values(), *([MORE] if distractors else [])):
            find_part(home, NAME, folder)
        listed = list_folders(home, FOLDERS, MARKET)
        if distractors:
            more = list_folders(home, {"gallery": MORE}, MARKET)
            listed += [one._replace(label="") for one in more]
        self.root = str(home)
        self.items = build_items(home, "", listed)
        self.protocol = "query_gallery(camera=True)"
        counts = COUNTS | {"gallery": COUNTS["gallery"] + 500_000} if distractors else COUNTS
        compare_counts(NAME, self.items, counts)
