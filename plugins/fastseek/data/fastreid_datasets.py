"""Between our data sets and fast-reid's: ours by fast-reid's names, fast-reid's as our items."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import random
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from .. import compat  # noqa: F401  (before anything that imports fastreid)
from ..errors import DataError, UsageError
from ..io.paths import data_roots
from ..registry import DATASETS, build, parse, recipe_name
from ..structures import Item, ItemTable
from ..structures.identity import file_name

from fastreid.data.datasets import DATASET_REGISTRY
from fastreid.data.datasets.bases import ImageDataset


def resolve(name: str, *, combine_all: bool = False) -> Sequence[Item]:
    """The items of a data set, ours or fast-reid's.

    Args:
        name: a call string of DATASETS (`folder('/my/images')`), one of our class names
            (`Grocery`), or a name fast-reid knows (`Market1501`), which is looked for in
            FASTREID_DATASETS, then in the other data roots.
        combine_all: adds query and gallery images to the training images, as
            `DATASETS.COMBINEALL` does.

    Raises:
        UsageError: nobody knows the name.
        DataError: its files are not there.
    """
    called, _, arguments = name.partition("(")
    ours = recipe_name(called.strip())
    if ours in DATASETS:
        items = build(f"{ours}({arguments}" if arguments else ours, DATASETS).items
        return _train_on_all(items) if combine_all else items
    parse(name)
    if called.strip() not in _theirs_known():
        raise UsageError(
            f"no data set is called {name!r}. Ours: {', '.join(DATASETS.names())}; "
            f"fast-reid's: {', '.join(sorted(_theirs_known()))}"
        )
    return _theirs(called.strip(), combine_all)


def _train_on_all(items: Sequence[Item]) -> Sequence[Item]:
    """Every image once more as a training image, unless it is one."""
    if isinstance(items, ItemTable):
        return items.all_trained_on()
    # By file: two folders may hold one name.
    trained = {file_name(item) for item in items if item.split == "train"}
    added = {
        file_name(item): dataclasses.replace(item, split="train")
        for item in items
        if file_name(item) not in trained
    }
    return [*items, *added.values()]


def _theirs_known() -> dict[str, type]:
    return DATASET_REGISTRY._obj_map  # its registry can neither be listed nor asked


def _theirs(name: str, combine_all: bool) -> list[Item]:
    failures = []
    for root in [*data_roots(), pathlib.Path("datasets")]:
        try:
            with _repeatable(), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a root without the data is told below
                data = DATASET_REGISTRY.get(name)(root=str(root), combineall=combine_all)
                return _items(data, str(root))
        except (RuntimeError, OSError) as error:
            failures.append(str(error))
    raise DataError(
        f"{name}: its files were not found: {'; '.join(failures)}. Set FASTREID_DATASETS to the"
        " folder that holds them"
    )


@contextlib.contextmanager
def _repeatable() -> Iterator[None]:
    """VehicleID splits query and gallery by chance: the same chance in every process, and nobody
    else's is used up.
    """
    state = random.getstate()
    random.seed(0)
    try:
        yield
    finally:
        random.setstate(state)


def _items(data: ImageDataset, root: str) -> list[Item]:
    items = []
    for split in ("train", "query", "gallery"):
        rows = sorted(
            getattr(data, split), key=lambda row: str(row[0])
        )  # glob's order differs between machines
        items += [
            Item(path=path, label=str(pid), group=str(camid), split=split, id=_id(path, root))
            for path, pid, camid in rows
        ]
    return items


def _id(path: str, root: str) -> str:
    inside = os.path.abspath(path).startswith(os.path.join(os.path.abspath(root), ""))
    return pathlib.PurePath(os.path.relpath(path, root) if inside else path).as_posix()


def _register_ours() -> None:
    """Make every data set of ours known to fast-reid by its class name, for its own loaders."""
    for _, member in DATASETS:
        if member.__name__ not in _theirs_known():
            DATASET_REGISTRY.register(_as_theirs(member))


def _as_theirs(member: type) -> type:
    class Bridged(ImageDataset):
        __doc__ = member.__doc__
        dataset_name = recipe_name(member.__name__)

        def __init__(self, root: str = "datasets", combineall: bool = False, **kwargs: Any) -> None:
            items = member(**kwargs).items
            pids = {label: pid for pid, label in enumerate(sorted({item.label for item in items}))}
            camids = {
                group: camid for camid, group in enumerate(sorted({item.group for item in items}))
            }
            train = [
                (
                    item.path,
                    f"{self.dataset_name}_{item.label}",
                    f"{self.dataset_name}_{item.group}",
                )
                for item in items
                if item.split == "train"
            ]
            # without groups fast-reid's camera rule would drop every match, were both sides of one
            # camera
            query, gallery = (
                [
                    (item.path, pids[item.label], camids[item.group] if len(camids) > 1 else side)
                    for item in items
                    if item.split == split
                ]
                for side, split in enumerate(("query", "gallery"))
            )
            super().__init__(train, query, gallery, combineall=combineall)

    Bridged.__name__ = Bridged.__qualname__ = member.__name__
    return Bridged


_register_ours()
