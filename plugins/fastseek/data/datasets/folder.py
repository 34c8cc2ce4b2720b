"""Any folder of class folders."""

from __future__ import annotations

import dataclasses
import logging
import os
import pathlib
from collections.abc import Iterator, Sequence

import numpy as np

from ...errors import DataError
from ...io.paths import locate
from ...registry import DATASETS
from ...structures import Item

logger = logging.getLogger(__name__)

EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp")
_SPLITS = {"train": "train", "query": "query", "gallery": "gallery", "test": "gallery", "val": ""}


@DATASETS.register()
class Folder:
    """Images in class folders; an image's label is the folder it lies in, relative to the root or
    the split's folder.

    With `root/train`, `root/query` and `root/gallery` (or `root/test`) the folders are the splits;
    with only `train` and `test`, test images are the queries and train images the gallery too.
    Without split folders every image is both trained on and searched in. Hidden files and files
    that are no images are passed over.

    Args:
        root: the folder, as it stands or below one of the data roots.
        query: without split folders: another folder of class folders whose images are the queries,
            or the share (0..1) of every class held out as queries; a class keeps at least one
            image.

    Raises:
        ValueError: `query` together with split folders, or a share outside 0..1.
        DataError: no such folder, or no image in it.
    """

    def __init__(self, root: str, query: str | float | None = None) -> None:
        self.root = str(locate(root, "the images"))
        names = sorted(entry.name for entry in os.scandir(_directory(self.root)) if entry.is_dir())
        names = [name for name in names if not name.startswith(".")]
        if _are_splits(set(names)):
            if query is not None:
                raise ValueError(f"{self.root} has split folders, so query= has no meaning")
            self.items = _from_splits(self.root, names)
        else:
            self.items = _flat(self.root, query)
        if not self.items:
            raise DataError(
                f"{self.root}: no image found (looked for {' '.join(EXTENSIONS)} in it and below)"
            )


def _are_splits(names: set[str]) -> bool:
    """All folders have split names, or two that go together do."""
    pairs = ({"train", "query"}, {"train", "gallery"}, {"train", "test"}, {"query", "gallery"})
    return bool(names) and (names <= set(_SPLITS) or any(pair <= names for pair in pairs))


def list_images(root: str, below: str = "", split: str = "train") -> list[Item]:
    """The images below `root/below`, sorted; ids are relative to `root`, labels to `root/below`."""
    base = os.path.join(root, below) if below else root
    return [
        Item(path=os.path.join(root, name), label=_label(name, below), split=split, id=name)
        for name in (
            pathlib.PurePath(os.path.relpath(path, root)).as_posix() for path in _walk(base)
        )
    ]


def _directory(path: str) -> str:
    if not os.path.isdir(path):
        raise DataError(
            f"{path} is not a folder; a table of images is read with manifest({path!r})"
        )
    return path


def _label(name: str, below: str) -> str:
    parts = pathlib.PurePosixPath(name).parent.parts
    return "/".join(parts[1:] if below else parts)


def _walk(base: str) -> Iterator[str]:
    """Image files in sorted order; linked folders are followed, each real folder once."""
    seen = set()
    for here, folders, files in os.walk(base, followlinks=True):
        real = os.path.realpath(here)
        if real in seen:
            folders[:] = []
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if name.lower().endswith(EXTENSIONS) and not name.startswith("."):
                yield os.path.join(here, name)


def _from_splits(root: str, names: Sequence[str]) -> list[Item]:
    passed_over = [name for name in names if not _SPLITS.get(name)]
    if passed_over:
        logger.info(
            "%s: folders that are no split are passed over: %s", root, ", ".join(passed_over)
        )
    found = {name: list_images(root, name, _SPLITS[name]) for name in names if _SPLITS.get(name)}
    if "test" in found and "query" not in found:
        if "gallery" not in found:
            found["gallery"] = [
                dataclasses.replace(item, split="gallery") for item in found.get("train", [])
            ]
        found["test"] = [dataclasses.replace(item, split="query") for item in found["test"]]
    return [item for items in found.values() for item in items]


def _flat(root: str, query: str | float | None) -> list[Item]:
    items = list_images(root)
    if isinstance(query, str):
        asked = Folder(query).items
        held = [
            dataclasses.replace(item, split="query")
            for item in asked
            if item.split == asked[0].split
        ]
    elif query is None:
        held = []
    else:
        held, items = _hold_out(items, query)
    return items + held + [dataclasses.replace(item, split="gallery") for item in items]


def _hold_out(items: Sequence[Item], share: float) -> tuple[list[Item], list[Item]]:
    """Every class's share of queries, spread evenly over its images in name order, and the rest."""
    if not 0 < share < 1:
        raise ValueError(f"query={share}: a folder or a share between 0 and 1")
    classes: dict[str, list[Item]] = {}
    for item in items:
        classes.setdefault(item.label, []).append(item)
    held: set[str] = set()
    for members in classes.values():
        count = min(len(members) - 1, max(1, round(share * len(members))))
        held.update(
            members[row].id for row in np.linspace(0, len(members) - 1, count + 2).astype(int)[1:-1]
        )
    return (
        [dataclasses.replace(item, split="query") for item in items if item.id in held],
        [item for item in items if item.id not in held],
    )
