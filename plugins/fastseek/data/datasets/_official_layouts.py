"""Benchmarks as they are downloaded, known by what lies in their folder: read by the part of their
own, or refused by name, and never taken for class folders.
"""

from __future__ import annotations

import logging
import os
import pathlib
import re
from typing import NamedTuple

from ...errors import DataError
from ._scene_layouts import spell_scene

logger = logging.getLogger(__name__)
FEW = 3  # an archive unpacks to one folder, with a note or two beside it
_DUKE = re.compile(r"\d+_c\d+_f\d+")


class Layout(NamedTuple):
    """A benchmark that a part reads.

    Args:
        part: the name in DATASETS; called with the folder.
        signs: files or folders that lie in it, all of them.
    """

    part: str
    signs: tuple[str, ...]


class Known(NamedTuple):
    """A benchmark that is not read by its folder alone, and what to do with it."""

    name: str
    signs: tuple[str, ...]
    advice: str


# The first that fits: what has more signs stands before what has fewer of them.
READ = (
    Layout("market", ("bounding_box_train", "query", "bounding_box_test")),
    Layout("veri776", ("image_train", "image_query", "image_test")),
    Layout("cuhk03_np", ("labeled/bounding_box_train", "detected/bounding_box_train")),
    Layout("cuhk03", ("cuhk03_release/cuhk-03.mat",)),
    Layout("cuhk03", ("cuhk-03.mat",)),
    Layout("msmt17", ("list_train.txt", "list_query.txt")),
    Layout("mars", ("bbox_train", "bbox_test")),
    Layout("veri_wild", ("train_test_split/vehicle_info.txt",)),
    Layout("vehicle_id", ("image", "train_test_split")),
    Layout("sop", ("Ebay_train.txt",)),
    Layout("cub", ("images.txt", "image_class_labels.txt")),
    Layout("cars", ("cars_annos.mat",)),
    Layout("cars", ("devkit", "cars_train")),
    Layout("inshop", ("Eval/list_eval_partition.txt",)),
    Layout("inshop", ("list_eval_partition.txt",)),
    Layout("deep_fashion2", ("validation/annos", "validation/image")),
    Layout("products10k", ("train.csv", "test_kaggletest.csv")),
    Layout("rp2k", ("all/train", "all/test")),
)

REFUSED = (Known("Google Landmarks v2", ("train.csv", "train_clean.csv"), "use gldv2('…')"),)


def find_layout(root: str) -> str:
    """The call string of the benchmark that lies in a folder, or in the only folder of it; "" for
    any other folder.

    Raises:
        DataError: one that is not read; says what to do.
    """
    home = pathlib.Path(root)
    names = [entry.name for entry in os.scandir(root) if not entry.name.startswith(".")]
    inner = [home / name for name in sorted(names)] if len(names) <= FEW else []
    for place in (home, *(one for one in inner if one.is_dir())):
        part = _find_part(place)
        call = f"{part}({str(place)!r})" if part else spell_scene(place)
        if call:
            logger.info("%s is read with %s", place, call.partition("(")[0])
            return call
        for known in REFUSED:
            if _holds(place, known.signs):
                raise DataError(
                    f"{place} is {known.name}, no folder of class folders: {known.advice}"
                )
    return ""


def _find_part(place: pathlib.Path) -> str:
    part = next((one.part for one in READ if _holds(place, one.signs)), "")
    if part == "market" and any(_DUKE.match(name) for name in os.listdir(place / "query")):
        return "duke"
    return part


def _holds(place: pathlib.Path, signs: tuple[str, ...]) -> bool:
    return all((place / sign).exists() for sign in signs)
