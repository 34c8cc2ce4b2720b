"""Benchmarks as they are downloaded: read, or refused by name, and never taken for class folders."""

from __future__ import annotations

import logging
import os
import re
from typing import NamedTuple

from ...errors import DataError
from ...structures import Item
from ._image_scan import scan_images

logger = logging.getLogger(__name__)

JUNK = "-1"  # a detection that shows nobody well enough to count, for or against


class Folders(NamedTuple):
    """A benchmark whose file names tell identity and camera, in a folder a split."""

    name: str
    train: str
    query: str
    gallery: str
    pattern: re.Pattern[str]
    example: str


class Known(NamedTuple):
    """A benchmark that is known by what lies in its folder, and what to do with it."""

    name: str
    signs: tuple[str, ...]
    advice: str


READ = (
    Folders(
        "Market-1501 or DukeMTMC-reID",
        "bounding_box_train",
        "query",
        "bounding_box_test",
        re.compile(r"(-?\d+)_c(\d+)"),
        "0002_c1s1_000451_03.jpg",
    ),
    Folders(
        "VeRi-776",
        "image_train",
        "image_query",
        "image_test",
        re.compile(r"(\d+)_c(\d+)"),
        "0001_c001_00016450_0.jpg",
    ),
)

_TABLE = "write its lists as a table path,label,split and name that: manifest('list.csv')"
_FASTREID = "set FASTREID_DATASETS to the folder above it and DATASETS.NAMES to ('{}',)"
REFUSED = (
    Known("MSMT17", ("list_train.txt", "list_query.txt"), _FASTREID.format("MSMT17")),
    Known("CUHK03", ("cuhk03_release",), _FASTREID.format("CUHK03")),
    Known("VehicleID", ("image", "train_test_split"), _FASTREID.format("VehicleID")),
    Known("VERI-Wild", ("images", "train_test_split"), _FASTREID.format("VeRiWild")),
    Known("MARS", ("bbox_train", "bbox_test"), _TABLE),
    Known("Stanford Online Products", ("Ebay_train.txt",), _TABLE),
    Known("CUB-200", ("images.txt", "image_class_labels.txt"), _TABLE),
    Known("CARS196", ("cars_annos.mat",), _TABLE),
    Known("CARS196", ("devkit", "cars_train"), _TABLE),
    Known("In-Shop", ("list_eval_partition.txt",), _TABLE),
    Known("In-Shop", ("Eval", "Img"), _TABLE),
    Known("DeepFashion2", ("train", "validation", "json_for_validation"), _TABLE),
    Known("COCO", ("annotations", "train2017"), _TABLE),
    Known("revisited Oxford or Paris", ("gnd_roxford5k.pkl",), _TABLE),
    Known("revisited Oxford or Paris", ("gnd_rparis6k.pkl",), _TABLE),
    Known("Google Landmarks v2", ("train.csv", "train_clean.csv"), "use gldv2('…')"),
    Known("iNaturalist 2021", ("train_mini.json",), "use inat(train='…/train_mini.json')"),
)


def find_layout(root: str) -> Folders | None:
    """The benchmark that lies in a folder, where its images are read; None for any other folder.

    Raises:
        DataError: one that is not read, or that lies one folder deeper; says what to do.
    """
    names = set(os.listdir(root))
    for one in READ:
        if {one.train, one.query, one.gallery} <= names:
            return one
    for known in REFUSED:
        if names.issuperset(known.signs):
            raise DataError(f"{root} is {known.name}, no folder of class folders: {known.advice}")
    if len(names) <= 3:  # an archive unpacks to one folder, with a note or two beside it
        _refuse_one_deeper(root, sorted(names))
    return None


def _refuse_one_deeper(root: str, names: list[str]) -> None:
    for name in names:
        inner = os.path.join(root, name)
        if not os.path.isdir(inner):
            continue
        listed = set(os.listdir(inner))
        signs = [(one.name, {one.train, one.query, one.gallery}) for one in READ]
        signs += [(known.name, set(known.signs)) for known in REFUSED]
        found = next((benchmark for benchmark, needed in signs if needed <= listed), None)
        if found:
            raise DataError(f"{root} holds {found} in a folder of its own: name {inner}")


def read_layout(root: str, layout: Folders) -> list[Item]:
    """The images of a benchmark: the label is the identity, the group the camera; ids are relative
    to `root`.

    Raises:
        DataError: an image is not named as the benchmark's are.
    """
    items: list[Item] = []
    left_out = 0
    for split, folder in zip(
        ("train", "query", "gallery"), (layout.train, layout.query, layout.gallery), strict=True
    ):
        found = scan_images(os.path.join(root, folder))
        found.report()
        for path in found.images:
            identity, camera = _read_name(path, layout)
            if identity == JUNK:
                left_out += 1
                continue
            name = os.path.relpath(path, root)
            items.append(Item(path, identity, camera, split, name.replace(os.sep, "/")))
    logger.info(
        "%s: read as %s, %d images; %d junk images (identity -1) are left out",
        root,
        layout.name,
        len(items),
        left_out,
    )
    return items


def _read_name(path: str, layout: Folders) -> tuple[str, str]:
    """Identity and camera; leading zeros are no part of either."""
    found = layout.pattern.match(os.path.basename(path))
    if not found:
        raise DataError(f"{path}: {layout.name} names its images as {layout.example}")
    return str(int(found[1])), str(int(found[2]))
