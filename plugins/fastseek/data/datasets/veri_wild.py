"""VERI-Wild as it is downloaded."""

from __future__ import annotations

from ...formats import veri_wild as lists
from ...registry import DATASETS
from ._benchmark import build_items, compare_counts, find_home, find_part

NAME = "VERI-Wild"
HOMES = ("VERI-Wild", "VeRi-Wild", "veri-wild", "veriwild", "veri_wild")
SPLIT = "train_test_split"
TRAINED = 277797  # images
TESTED = {3000: (3000, 38861), 5000: (5000, 64389), 10000: (10000, 128517)}


@DATASETS.register()
class VeriWild:
    """VERI-Wild: a query asks for its vehicle in images of other cameras.

    Args:
        root: the folder with images/ and train_test_split/, or the one above it; "" looks for
            VERI-Wild below the data roots.
        size: vehicles of the test: 3000 (small), 5000 (medium) or 10000 (large).

    Raises:
        ValueError: another size. DataError: a list or its images are not there, or a line is
            damaged; names what was expected.

    Source: Lou et al., VERI-Wild: A Large Dataset and a New Method for Vehicle Re-Identification in
        the Wild, CVPR 2019
    Example: veri_wild(root='VERI-Wild', size=3000)
    """

    def __init__(self, root: str = "", size: int = 10000) -> None:
        if size not in lists.SIZES:
            raise ValueError(f"size must be one of {', '.join(map(str, lists.SIZES))}, got {size}")
        home = find_home(root, NAME, HOMES, f"{SPLIT}/vehicle_info.txt", SPLIT)
        find_part(home, NAME, "images")
        cameras = lists.read_cameras(find_part(home, NAME, f"{SPLIT}/vehicle_info.txt"))
        names = {
            "train": "train_list.txt",
            "query": f"test_{size}_query.txt",
            "gallery": f"test_{size}.txt",
        }
        listed = [
            one
            for split, name in names.items()
            for one in lists.read_list(find_part(home, NAME, f"{SPLIT}/{name}"), split, cameras)
        ]
        self.root = str(home)
        self.items = build_items(home, "images", listed)
        self.protocol = "query_gallery(camera=True)"
        queries, gallery = TESTED[size]
        counts = {"train": TRAINED, "query": queries, "gallery": gallery}
        compare_counts(NAME, self.items, counts)
