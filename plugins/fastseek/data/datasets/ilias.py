"""ILIAS as it is downloaded."""

from __future__ import annotations

import os
import pathlib

from ...formats import ilias as lists
from ...formats.listed import Listed
from ...registry import DATASETS
from ...structures import ItemTable
from ...structures.item_table import join_tables
from ._benchmark import build_items, compare_counts, find_home, find_part
from ._distractors import read_distractors
from ._image_scan import scan_images

NAME = "ILIAS"
FOLDERS = ("ilias", "ILIAS")
CORE, IDS, SHARDS = "ilias_core", "image_ids", "yfcc100m"
COUNTS = {"query": 1232, "gallery": 4715}


@DATASETS.register()
class Ilias:
    """ILIAS: 1,232 images of 1,000 objects ask for 4,715 others among 100 million distractors, or 5
    million (mini-ILIAS); nothing is trained on.

    The lists of image_ids/ say what asks and what is asked for; without them the folders do. Text
    queries are left out. Shards that were not downloaded are not searched: the number of
    distractors stands beside the score.

    Args:
        root: the folder with ilias_core/, image_ids/ and yfcc100m/; "" looks for ilias below the
            data roots.
        distractors: "all" (the shards in yfcc100m/), "mini" (of these the images that
            mini_ilias_yfcc100m_ids.txt names), "none", or a pattern of tar files.

    Raises:
        DataError: a list, an image or a shard is not there; names it.

    Source: Kordopatis-Zilos et al., ILIAS: Instance-Level Image retrieval At Scale, CVPR 2025
        (arXiv 2502.11748)
    Example: ilias(root='ilias', distractors='mini')
    """

    def __init__(self, root: str = "", distractors: str = "all") -> None:
        home = find_home(root, NAME, FOLDERS, CORE)
        self.root = str(home)
        core = home / CORE
        ids = home / IDS
        names = _list_core(core) if not ids.is_dir() else _read_lists(home)
        listed = [
            Listed(name, lists.instance_of(name), split)
            for split, found in names.items()
            for name in found
        ]
        items = build_items(home, CORE, listed)
        compare_counts(NAME, items, COUNTS)
        if distractors != "none":
            items = join_tables([items, _read_shards(home, distractors)])
        self.items = items
        self.protocol = "ilias(k=1000)"


def _read_lists(home: pathlib.Path) -> dict[str, list[str]]:
    files = {"query": lists.QUERIES, "gallery": lists.POSITIVES}
    return {
        split: lists.read_images(find_part(home, NAME, f"{IDS}/{name}"))
        for split, name in files.items()
    }


def _list_core(core: pathlib.Path) -> dict[str, list[str]]:
    """Images by their folders, OBJECT/query and OBJECT/pos."""
    found = [
        os.path.relpath(path, core).replace(os.sep, "/") for path in scan_images(str(core)).images
    ]
    sides = {"query": "/query/", "gallery": "/pos/"}
    return {split: [name for name in found if part in name] for split, part in sides.items()}


def _read_shards(home: pathlib.Path, distractors: str) -> ItemTable:
    if distractors not in ("all", "mini"):
        return read_distractors(distractors)
    folder = str(find_part(home, NAME, SHARDS))
    if distractors == "all":
        return read_distractors(folder)
    names = find_part(home, NAME, f"{IDS}/{lists.MINI}", lists.MINI)
    wanted = frozenset(lists.read_keys(names))
    return read_distractors(folder, lambda image: pathlib.PurePosixPath(image).stem in wanted)
