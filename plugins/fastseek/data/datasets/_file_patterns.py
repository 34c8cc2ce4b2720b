"""Several files named at once, as a shell would."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence

from ...errors import DataError
from ...io.locations import absolute, expand_braces, find_location, is_file, parent


def names_several(pattern: str) -> bool:
    """Whether a name stands for several files: it has braces, or * ? [] and is no file itself."""
    if next(expand_braces(pattern)) != pattern:
        return True
    return is_file(pattern) and glob.has_magic(pattern) and not os.path.exists(pattern)


def find_files(pattern: str, purpose: str) -> list[str]:
    """The files that a name or pattern stands for, sorted, from the root of the file system.

    Raises:
        DataError: there is none, or one that braces name is not there.
    """
    names = list(expand_braces(pattern))
    if is_file(pattern) and names_several(pattern):
        found = [glob.glob(name) if glob.has_magic(name) else [name] for name in names]
        names = [name for several in found for name in several]
    if not names:
        raise DataError(f"{pattern}: no file is called so (for {purpose})")
    return sorted({absolute(find_location(name, purpose)) for name in names})


def common_root(files: Sequence[str]) -> str:
    """The folder that holds all files; of addresses what lies above the first."""
    if not is_file(files[0]):
        return parent(files[0])
    return os.path.commonpath([parent(file) for file in files])


def name_below(root: str, file: str) -> str:
    """A file below a root, without its suffix."""
    return os.path.splitext(file[len(root) :].lstrip("/"))[0]
