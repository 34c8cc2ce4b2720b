"""Between our data sets and fast-reid's: ours by fast-reid's names, fast-reid's as our items."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import pathlib
import random
import re
import traceback
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from .. import compat  # noqa: F401  (before anything that imports fastreid)
from ..errors import DataError, UsageError
from ..io.paths import data_roots
from ..registry import DATASETS, build, parse, recipe_name
from ..structures import Item, ItemTable
from ..structures.identity import file_name
from ..structures.splits import take_both_sides

from fastreid.data.datasets import DATASET_REGISTRY
from fastreid.data.datasets.bases import ImageDataset

logger = logging.getLogger(__name__)
# Theirs -> ours, which reads the folders as they are downloaded.
AS_DOWNLOADED = {
    "Market1501": "market",
    "DukeMTMC": "duke",
    "MSMT17": "msmt17",
    "CUHK03": "cuhk03",
    "VeRi": "veri776",
    "VehicleID": "vehicle_id",
    "SmallVehicleID": "vehicle_id",
    "MediumVehicleID": "vehicle_id",
    "LargeVehicleID": "vehicle_id",
    "VeRiWild": "veri_wild",
    "SmallVeRiWild": "veri_wild",
    "MediumVeRiWild": "veri_wild",
    "LargeVeRiWild": "veri_wild",
}


def resolve(name: str, *, combine_all: bool = False) -> Sequence[Item]:
    """The items of a data set, ours or fast-reid's; images of a split "test" as queries and in the
    gallery.

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
        found = build(f"{ours}({arguments}" if arguments else ours, DATASETS)
        items = take_both_sides(found.items)
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
    """The items of the first data root that has the data set.

    Raises:
        DataError: no root has it, or it is damaged where it lies; a root behind it is not tried.
        UsageError: its reader needs a package that is not installed.
    """
    missing = []
    for root in data_roots():
        try:
            with _repeatable(), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what is missing is told below
                data = DATASET_REGISTRY.get(name)(root=str(root), combineall=combine_all)
                items = _items(data, str(root))
        except ImportError as error:
            raise UsageError(
                f"{name}: fast-reid's reader needs {error.name}: pip install {error.name}"
            ) from error
        except Exception as error:  # its readers raise whatever a damaged folder leads them to
            lost = _missing_path(error, root)
            if lost is None:
                raise _damage(name, root, error) from error
            missing.append(lost)
            continue
        if not items:
            raise DataError(f"{name}: its folder below {root.absolute()} holds no images")
        logger.info("%s: %d images, read below %s", name, len(items), root.absolute())
        return items
    raise DataError(
        f"{name}: its files were not found: {'; '.join(missing)}. Set FASTREID_DATASETS to the"
        f" folder that holds them{_hint_datasets_folder()}{_hint_ours(name)}"
    )


def _missing_path(error: Exception, root: pathlib.Path) -> str | None:
    """What says that a root does not have the data set; None where it is there and damaged."""
    if isinstance(error, AssertionError) and "folder not found" in str(error).lower():
        return f"nothing of it below {root}"
    quoted = re.fullmatch(r"[\"'](.+)[\"'] is not found", str(error))
    path = quoted[1] if quoted else getattr(error, "filename", None)
    if not path:
        return None
    # The data set is there when the folder that misses something is not the root itself.
    lost = pathlib.Path(os.path.abspath(path))
    if lost.parent != root.absolute() and lost != root.absolute() and lost.parent.exists():
        return None
    near = [entry for entry in _list_folder(root) if entry.lower() == lost.name.lower()]
    rename = f" ({root / near[0]} is there: rename it to {lost.name})" if near else ""
    return f"{path} is not there{rename}"


def _list_folder(folder: pathlib.Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _damage(name: str, root: pathlib.Path, error: Exception) -> DataError:
    """What is wrong with a data set that is there, with the image the reader was at."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    at = [frame.f_locals["img_path"] for frame in frames if "img_path" in frame.f_locals]
    said = f"{type(error).__name__}: {error}" if str(error) else "not as the data set names images"
    if at and isinstance(error, AttributeError):  # a pattern that does not match is None
        said = "not as the data set names images"
    return DataError(
        f"{name}: {at[-1] if at else root.absolute()} cannot be read ({said}): mend or remove it"
    )


def _hint_datasets_folder() -> str:
    """fast-reid's own default is a folder of the working folder, which must not decide here."""
    here = pathlib.Path("datasets")
    named = any(os.environ.get(key) for key in ("FASTREID_DATASETS", "FASTSEEK_DATA"))
    return f", such as {here.absolute()}" if here.is_dir() and not named else ""


def _hint_ours(name: str) -> str:
    ours = AS_DOWNLOADED.get(name)
    return f"; the folder as it is downloaded is read by {ours}('…')" if ours else ""


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
            found = member(**kwargs).items
            items = take_both_sides(found)
            # Where each test image asks the others, a camera of its own hides it from itself alone.
            alone = {item.id: row for row, item in enumerate(found) if item.split == "test"}
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
                    (
                        item.path,
                        pids[item.label],
                        alone.get(item.id, camids[item.group] if len(camids) > 1 else side),
                    )
                    for item in items
                    if item.split == split
                ]
                for side, split in enumerate(("query", "gallery"))
            )
            super().__init__(train, query, gallery, combineall=combineall)

    Bridged.__name__ = Bridged.__qualname__ = member.__name__
    return Bridged


_register_ours()
