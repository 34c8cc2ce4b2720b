"""PKU VehicleID as it is downloaded."""

from __future__ import annotations

from ...formats import vehicle_id as lists
from ...registry import DATASETS
from ._benchmark import build_items, compare_counts, find_home, find_part

NAME = "VehicleID"
HOMES = ("VehicleID_V1.0", "VehicleID", "vehicleid", "vehicle_id")
SPLIT = "train_test_split"
TRAINED = 113346  # images
TESTED = {800: 6493, 1600: 13377, 2400: 19777}  # vehicles -> images


@DATASETS.register()
class VehicleId:
    """PKU VehicleID: one image of every vehicle of a test list is the gallery and the others ask,
    drawn ten times.

    Args:
        root: the folder with image/ and train_test_split/, or the one above it; "" looks for
            VehicleID_V1.0 or VehicleID below the data roots.
        size: vehicles of the test: 800, 1600, 2400, 3200, 6000 or 13164, as test_list_800.txt is
            called.

    Raises:
        ValueError: another size. DataError: a list or its images are not there, or a line is
            damaged; names what was expected.

    Source: Liu et al., Deep Relative Distance Learning: Tell the Difference Between Similar
        Vehicles, CVPR 2016
    Example: vehicle_id(root='VehicleID_V1.0', size=800)
    """

    def __init__(self, root: str = "", size: int = 800) -> None:
        if size not in lists.SIZES:
            raise ValueError(f"size must be one of {', '.join(map(str, lists.SIZES))}, got {size}")
        home = find_home(root, NAME, HOMES, f"{SPLIT}/train_list.txt", SPLIT)
        find_part(home, NAME, "image")
        train = find_part(home, NAME, f"{SPLIT}/train_list.txt")
        test = find_part(home, NAME, f"{SPLIT}/test_list_{size}.txt")
        listed = [*lists.read_list(train, "train"), *lists.read_list(test, "test")]
        self.root = str(home)
        self.items = build_items(home, "image", listed)
        self.protocol = "vehicle_id()"
        counts = {"train": TRAINED} | ({"test": TESTED[size]} if size in TESTED else {})
        compare_counts(NAME, self.items, counts)
