"""Any folder of class folders."""

from __future__ import annotations

import dataclasses
import logging
import os
import pathlib
from collections.abc import Sequence

from ...errors import DataError
from ...io.image_formats import accepted_suffixes
from ...io.locations import find_location, is_file, join_location, list_below
from ...registry import DATASETS, TaskedDataset, build
from ...structures import Item, ItemTable, Kind, with_split
from ...structures.item_table import join_items, join_tables
from ...structures.item_table_builder import ItemTableBuilder
from ._image_scan import scan_address, scan_images
from ._official_layouts import find_layout
from ._query_share import part_queries

logger = logging.getLogger(__name__)

BLOCK = 16384  # images that are taken into the table at a time
_SPLITS = {"train": "train", "query": "query", "gallery": "gallery", "test": "gallery", "val": ""}
_PAIRS = (
    {"train", "query"},
    {"train", "gallery"},
    {"train", "test"},
    {"train", "val"},
    {"query", "gallery"},
)


@DATASETS.register()
class Folder:
    """Images in class folders; an image's label is the folder it lies in, relative to the root or
    the split's folder.

    With `root/train`, `root/query` and `root/gallery` (or `root/test`) the folders are the splits.
    Where there are no queries the images of `test`, or else of `val`, are the queries; where there
    is no gallery the training images are searched too, and with `query` and `gallery` alone the
    gallery is trained on. Without split folders every image is both trained on and searched in.
    A benchmark as it is downloaded is read by the part of its own. Hidden files are left out, others
    that are no images named and counted.

    Args:
        root: the folder, as it stands or below one of the data roots, or its address (s3://…).
        query: without split folders: another folder of class folders whose images are the queries,
            or the share (0..1) of every class held out as queries; a class keeps at least one
            image.

    Raises:
        ValueError: `query` together with split folders, or a share outside 0..1.
        DataError: no such folder, no image in it, or a benchmark that is not read.

    Example: folder('/my/images', query=0.2)
    """

    def __init__(self, root: str, query: str | float | None = None) -> None:
        self.root = find_location(root, "the images")
        self.protocol = ""
        names, layout = _folder_names(self.root), spell_layout(self.root)
        if query is not None and (layout or _are_splits(names)):
            raise ValueError(f"{self.root} has split folders, so query= has no meaning")
        if layout:
            found = build(layout, DATASETS)
            self.items: Sequence[Item] = found.items
            self.root = str(getattr(found, "root", self.root))
            self.protocol = str(getattr(found, "protocol", ""))
            if isinstance(found, TaskedDataset):
                self.tasks = found.tasks
        elif _are_splits(names):
            self.items = _from_splits(self.root, names)
        else:
            self.items = _flat(self.root, query)
        if not len(self.items):
            raise DataError(
                f"{self.root}: no image found (looked for {' '.join(accepted_suffixes())} in it and below)"
            )


def has_splits(root: str) -> bool:
    """Whether `folder(root)` says itself which images are queries.

    Raises:
        DataError: a benchmark that is not read.
    """
    return bool(spell_layout(root)) or _are_splits(_folder_names(root))


def list_images(root: str, below: str = "", split: str = "train") -> ItemTable:
    """The images below `root/below`, sorted; ids are relative to `root`, labels to `root/below`.

    What is passed over is named and counted in the log.
    """
    scan = scan_images if is_file(root) else scan_address
    found = scan(join_location(root, below) if below else root)
    found.report()
    builder = ItemTableBuilder([Kind(split, root)])
    for start in range(0, len(found.images), BLOCK):
        block = found.images[start : start + BLOCK]
        names = [pathlib.PurePath(os.path.relpath(path, root)).as_posix() for path in block]
        builder.add(names, labels=[label_of(name, below) for name in names])
    return builder.build()


def label_by_folder(names: Sequence[str]) -> list[str]:
    """The labels of images by the folders in their names, which are relative to a root; "" for one
    that lies in no folder. Where the root has split folders, those are no part of a label.
    """
    tops = sorted({name.split("/")[0] for name in names if "/" in name})
    below = tops[0] if _are_splits(tops) else ""
    return [label_of(name, below) for name in names]


def spell_layout(root: str) -> str:
    """The call string of the benchmark that lies in a folder; "" where none does, or at an address.

    Raises:
        DataError: a benchmark that is not read.
    """
    return find_layout(root) if os.path.isdir(root) else ""


def _folder_names(root: str) -> list[str]:
    if not is_file(root):
        tops = {name.split("/")[0] for name in list_below(root) if "/" in name}
        return sorted(name for name in tops if not name.startswith("."))
    if not os.path.isdir(root):
        raise DataError(
            f"{root} is not a folder; a table of images is read with manifest({root!r})"
        )
    found = sorted(entry.name for entry in os.scandir(root) if entry.is_dir())
    return [name for name in found if not name.startswith(".")]


def _are_splits(names: Sequence[str]) -> bool:
    """All folders have split names, or two that go together do."""
    known = set(names)
    return bool(known) and (known <= set(_SPLITS) or any(pair <= known for pair in _PAIRS))


def label_of(name: str, below: str = "") -> str:
    """The folders of an image; white space around a name is no part of it.

    Args:
        name: its path below the root.
        below: its first folder, where that is no part of the label.
    """
    parts = pathlib.PurePosixPath(name).parent.parts
    return "/".join(part.strip() for part in (parts[1:] if below else parts))


def _from_splits(root: str, names: Sequence[str]) -> ItemTable:
    """The items of split folders; a role that no folder has is taken by one that can have it."""
    roles = {name: _SPLITS[name] for name in names if name in _SPLITS}
    if "query" not in roles:
        # test before val: settings were chosen on val, so its figures would be too good.
        asked = next((name for name in ("test", "val") if name in roles), None)
        if asked:
            roles[asked] = "query"
    left_out = [name for name in names if not roles.get(name)]
    if left_out:
        logger.info("%s: folders that are no split are passed over: %s", root, ", ".join(left_out))
    found = join_tables([list_images(root, name, split) for name, split in roles.items() if split])
    kinds = set(roles.values())
    if "gallery" not in kinds:
        return join_tables([found, found.with_split("train").in_split("gallery")])
    if "train" not in kinds:
        logger.info("%s: there is no train folder, so the gallery is trained on", root)
        return join_tables([found.with_split("gallery").in_split("train"), found])
    return found


def _flat(root: str, query: str | float | None) -> Sequence[Item]:
    items = list_images(root)
    if isinstance(query, str):
        asked = Folder(query).items
        # Whatever the other folder calls its images, here they ask.
        queries = _in_split(with_split(asked, asked[0].split), "query")
        return join_items([items, queries, items.in_split("gallery")])
    if query is not None and len(items):
        return part_queries(items, query)
    return join_tables([items, items.in_split("gallery")])


def _in_split(items: Sequence[Item], split: str) -> Sequence[Item]:
    if isinstance(items, ItemTable):
        return items.in_split(split)
    return [dataclasses.replace(item, split=split) for item in items]
