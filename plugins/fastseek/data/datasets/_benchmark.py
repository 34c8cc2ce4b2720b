"""What readers of benchmarks as they are downloaded share: where the files lie, the items, and a
look at how many there are.
"""

from __future__ import annotations

import collections
import logging
import os
import pathlib
from collections.abc import Mapping, Sequence

from ...errors import DataError
from ...formats.listed import Listed
from ...io.crop_locations import spell_crop, whole_image
from ...io.locations import leads_out
from ...io.paths import data_roots, locate
from ...structures import Item, ItemTable, Kind
from ...structures.item_table_builder import ItemTableBuilder

logger = logging.getLogger(__name__)
SPLITS = ("train", "query", "gallery", "test")
BLOCK = 16384  # images that are taken into the table at a time


def find_home(root: str, benchmark: str, folders: Sequence[str], *signs: str) -> pathlib.Path:
    """The folder of a benchmark: as it stands, else below a data root; also where an archive has
    unpacked into a folder of its own.

    Args:
        root: what the user named; "" looks for `folders` below the data roots.
        benchmark: what people call it.
        folders: what its archive unpacks to, and what others call it.
        signs: files or folders of which it holds one at least; * stands for letters of a name.

    Raises:
        DataError: there is no such folder, or none of the signs in it; says where was looked.
    """
    home = locate(root, benchmark) if root else _find_below_roots(benchmark, folders)
    if not home.is_dir():
        raise DataError(f"{home}: expected the folder of {benchmark}")
    inner = sorted(entry for entry in home.iterdir() if entry.is_dir())
    for place in (home, *inner):
        if any(_holds(place, sign) for sign in signs):
            return place
    raise DataError(
        f"{home}: {' or '.join(signs)} of {benchmark} not found, neither there nor in a folder of"
        " it: name the folder its archive unpacks to"
    )


def _holds(place: pathlib.Path, sign: str) -> bool:
    return any(place.glob(sign)) if "*" in sign else (place / sign).exists()


def _find_below_roots(benchmark: str, folders: Sequence[str]) -> pathlib.Path:
    for root in data_roots():
        for name in folders:
            if (root / name).is_dir():
                logger.info("%s lies in %s", benchmark, (root / name).absolute())
                return root / name
    looked = ", ".join(str(root) for root in data_roots())
    raise DataError(
        f"{benchmark} not found: looked for a folder {' or '.join(folders)} below {looked}: put it"
        " there, set FASTREID_DATASETS, or name its folder (root=…)"
    )


def find_part(home: pathlib.Path, benchmark: str, *names: str) -> pathlib.Path:
    """The first file or folder of these that a benchmark's folder has.

    Raises:
        DataError: it has none; names what was expected and where.
    """
    for name in names:
        if (home / name).exists():
            return home / name
    others = f" (nor {', '.join(names[1:])})" if len(names) > 1 else ""
    raise DataError(
        f"{home / names[0]}: there is no such file or folder{others}, which {benchmark} needs:"
        " download it, or unpack it there"
    )


def build_items(
    home: pathlib.Path, images: str, listed: Sequence[Listed], boxes: bool = False
) -> ItemTable:
    """The items of what a benchmark lists; ids are relative to `home`.

    Args:
        home: the benchmark's folder.
        images: the folder of the images below it; "" for itself.
        listed: the images.
        boxes: whether an item shows only its box.

    Raises:
        DataError: nothing is listed, a name leads out of the folder, or the first image of a split
            is not there.
    """
    if not listed:
        raise DataError(f"{home}: its lists name no image")
    root = str(home)
    builder = ItemTableBuilder([Kind(split, "" if boxes else root) for split in SPLITS])
    ordered = sorted(listed, key=lambda one: SPLITS.index(one.split))
    for start in range(0, len(ordered), BLOCK):
        block = ordered[start : start + BLOCK]
        below = f"{images}/" if images else ""
        builder.add(
            [below + one.id for one in block],
            [SPLITS.index(one.split) for one in block],
            [one.label for one in block],
            [_spell_box(root, below, one) for one in block] if boxes else None,
            [one.group for one in block],
        )
    items = builder.build()
    _check_names(home, ordered)
    _check_first(items)
    return items


def _spell_box(root: str, below: str, one: Listed) -> str:
    path = os.path.join(root, below + one.name)
    return path if one.box is None else spell_crop(path, one.box)


def _check_names(home: pathlib.Path, listed: Sequence[Listed]) -> None:
    """Refuse lists that name a file elsewhere."""
    outside = next((one.name for one in listed if leads_out(one.name)), None)
    if outside is not None:
        raise DataError(f"{home}: a list names {outside!r}, which lies outside of the folder")


def _check_first(items: ItemTable) -> None:
    """Refuse lists without their images, before hours of work."""
    for split in dict.fromkeys(kind.split for kind in items.of):
        found = items.with_split(split)
        path = pathlib.Path(whole_image(found.path(0))) if len(found) else None
        if path is not None and not path.exists():
            raise DataError(
                f"{path}: a list names this image and there is no such file: unpack the images there"
            )


def compare_counts(benchmark: str, items: Sequence[Item], official: Mapping[str, int]) -> None:
    """Log in one line where a split has other numbers of images than the published data set.

    Args:
        benchmark: what people call it.
        items: what was read.
        official: split -> images.
    """
    if isinstance(items, ItemTable):
        found = {split: len(items.with_split(split)) for split in official}
    else:
        found = collections.Counter(item.split for item in items)
    other = [
        f"{found[split]:,} {split} images instead of {count:,}"
        for split, count in official.items()
        if found[split] != count
    ]
    if other:
        logger.warning("%s: not the published number of images: %s", benchmark, ", ".join(other))
    else:
        logger.info("%s: %s items", benchmark, f"{len(items):,}")
