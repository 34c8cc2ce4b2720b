"""VeRi-776 as it is downloaded."""

from __future__ import annotations

import pathlib

from ...errors import DataError
from ...formats import veri776 as lists
from ...formats.listed import Listed
from ...formats.reid_names import VERI
from ...registry import DATASETS
from ._benchmark import build_items, compare_counts, find_home, find_part
from ._reid_folders import list_folders

NAME = "VeRi-776"
HOMES = ("VeRi", "veri", "VeRi-776", "VeRi776", "veri776", "VeRi_with_plate")
FOLDERS = {"train": "image_train", "query": "image_query", "gallery": "image_test"}
NAMES = {"train": "name_train.txt", "query": "name_query.txt", "gallery": "name_test.txt"}
LABELS = {"train": "train_label.xml", "query": "test_label.xml", "gallery": "test_label.xml"}
COUNTS = {"train": 37778, "query": 1678, "gallery": 11579}


@DATASETS.register()
class Veri776:
    """VeRi-776: a query asks for its vehicle in images of other cameras.

    Where the lists name_train.txt, name_query.txt and name_test.txt are there, they say which images
    count, and else the folders; where train_label.xml and test_label.xml are there, they say vehicle
    and camera, and else the file names.

    Args:
        root: the folder with image_train/, image_query/ and image_test/, or the one above it; ""
            looks for VeRi or veri below the data roots.

    Raises:
        DataError: a folder is not there, a list is damaged, or the labels lack an image; names what
            was expected.

    Source: Liu et al., A Deep Learning-Based Approach to Progressive Vehicle Re-identification for
        Urban Surveillance, ECCV 2016
    Example: veri776(root='VeRi')
    """

    def __init__(self, root: str = "") -> None:
        home = find_home(root, NAME, HOMES, *FOLDERS.values())
        for folder in FOLDERS.values():
            find_part(home, NAME, folder)
        listed = [one for split in FOLDERS for one in _read_split(home, split)]
        self.root = str(home)
        self.items = build_items(home, "", listed)
        self.protocol = "query_gallery(camera=True)"
        compare_counts(NAME, self.items, COUNTS)


def _read_split(home: pathlib.Path, split: str) -> list[Listed]:
    folder, names, labels = FOLDERS[split], home / NAMES[split], home / LABELS[split]
    if not names.exists():
        listed = list_folders(home, {split: folder}, VERI)
        return _relabel(listed, labels) if labels.exists() else listed
    found = []
    for name in lists.read_names(names):
        told = VERI.read(name)
        if told is None and not labels.exists():
            raise DataError(f"{names}: {name!r} is not named as {VERI.example}")
        vehicle, camera = told or ("", "")
        found.append(Listed(f"{folder}/{name}", vehicle, split, camera))
    return _relabel(found, labels) if labels.exists() else found


def _relabel(listed: list[Listed], labels: pathlib.Path) -> list[Listed]:
    """The same images with vehicle and camera as the XML file has them."""
    known = lists.read_labels(labels)
    found = []
    for one in listed:
        name = one.name.rpartition("/")[2]
        if name not in known:
            raise DataError(f"{labels}: {name} of {one.name.rpartition('/')[0]}/ is not in it")
        vehicle, camera = known[name]
        found.append(one._replace(label=vehicle, group=camera))
    return found
