"""Several files named at once, as a shell would."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence

from ...errors import DataError
from ...io.braces import expand_braces
from ...io.locations import absolute, find_location, is_file, parent


def names_several(pattern: str) -> bool:
    """Whether a name stands for several files: it has braces, or * ? [], and is no file itself."""
    if is_file(pattern) and os.path.exists(pattern):
        return False
    if next(expand_braces(pattern)) != pattern:
        return True
    return is_file(pattern) and glob.has_magic(pattern)


def find_files(pattern: str, purpose: str) -> list[str]:
    """The files that a name or pattern stands for, sorted, from the root of the file system.

    Raises:
        DataError: there is none, or one that braces name is not there.
    """
    several = names_several(pattern)
    names = list(expand_braces(pattern)) if several else [pattern]
    if is_file(pattern) and several:
        found = [glob.glob(name) if glob.has_magic(name) else [name] for name in names]
        names = [name for some in found for name in some]
    if not names:
        raise DataError(f"{pattern}: no file is called so (for {purpose})")
    return sorted({absolute(find_location(name, purpose)) for name in names})


def common_root(files: Sequence[str]) -> str:
    """The folder or address below which all files are.

    Raises:
        DataError: some are on another file system.
    """
    if all(map(is_file, files)):
        return os.path.commonpath([parent(file) for file in files])
    schemes = {file.partition("://")[0] for file in files}
    if len(schemes) > 1 or any(map(is_file, files)):
        raise DataError(f"{files[0]} and {files[-1]} are on two file systems: name those of one")
    scheme = f"{schemes.pop()}://"
    folders = [file.removeprefix(scheme).split("/")[:-1] for file in files]
    return scheme + "/".join(os.path.commonprefix(folders))


def name_below(root: str, file: str) -> str:
    """A file below a root, without its suffix."""
    return os.path.splitext(file[len(root) :].lstrip("/"))[0]
