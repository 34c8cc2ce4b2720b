"""The user's own images as a data set of a recipe."""

from __future__ import annotations

import os

from ..io.paths import PathLike
from .datasets import folder, manifest

HELD_OUT = 0.2  # of every class, where nobody says which images are queries


def spell_data_set(images: PathLike) -> str:
    """The call string of a folder or table of images; a fifth of every class is held out as queries
    where it has no splits of its own.

    Raises:
        DataError: nothing is there, or it is a benchmark that is not read.
    """
    path = os.fspath(images)
    if os.path.isdir(path):
        part, splits = "folder", folder.has_splits(path)
    else:
        part, splits = "manifest", manifest.has_splits(path)
    return f"{part}({path!r})" if splits else f"{part}({path!r}, query={HELD_OUT})"
