"""Benchmarks of re-identification whose file names tell identity and camera, in a folder a split."""

from __future__ import annotations

import logging
import os
import pathlib
from collections.abc import Mapping, Sequence

from ...errors import DataError
from ...formats.listed import Listed
from ...formats.reid_names import JUNK, Names
from ._image_scan import scan_images

logger = logging.getLogger(__name__)
FOLDERS = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}
SHOWN = 5  # foreign names in one message


def list_folders(home: pathlib.Path, folders: Mapping[str, str], names: Names) -> list[Listed]:
    """The images of split folders by their names; junk is left out and counted, and so are files
    that are called otherwise, of which the first are named.

    Args:
        home: the benchmark's folder.
        folders: split -> folder.
        names: how the benchmark names its images.

    Raises:
        DataError: a folder is missing, or none of its images is named as the benchmark's are.
    """
    listed: list[Listed] = []
    junk = 0
    for split, folder in folders.items():
        found, foreign = _list_folder(home / folder, names)
        _tell_foreign(home / folder, foreign, len(found), names)
        for name, identity, camera in found:
            if identity == JUNK:
                junk += 1
                continue
            listed.append(Listed(f"{folder}/{name}", identity, split, camera))
    logger.info("%s: %d junk images (identity -1) are left out", home, junk)
    return listed


def _list_folder(
    folder: pathlib.Path, names: Names
) -> tuple[list[tuple[str, str, str]], list[str]]:
    """Names with identity and camera, and the names that tell neither."""
    scan = scan_images(str(folder))
    scan.report()
    found, foreign = [], []
    for path in scan.images:
        name = os.path.relpath(path, folder).replace(os.sep, "/")
        told = names.read(os.path.basename(path))
        if told is None:
            foreign.append(name)
        else:
            found.append((name, *told))
    return found, foreign


def _tell_foreign(folder: pathlib.Path, foreign: Sequence[str], known: int, names: Names) -> None:
    if not known:
        first = f", found {foreign[0]}" if foreign else ""
        raise DataError(
            f"{folder}: no image is named as those of {names.benchmark} ({names.example}){first}"
        )
    if foreign:
        shown = ", ".join(str(folder / name) for name in foreign[:SHOWN])
        logger.warning(
            "%d files are passed over, as %s names its images otherwise (%s): %s%s",
            len(foreign),
            names.benchmark,
            names.example,
            shown,
            ", …" if len(foreign) > SHOWN else "",
        )
