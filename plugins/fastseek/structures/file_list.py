"""Image files by name: one, or a list of a program, a text file or another command."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Iterable, Sequence

from ..errors import DataError
from ..io.image_formats import accepted_suffixes
from ..io.paths import PathLike
from .item import Item


@dataclasses.dataclass(frozen=True, eq=False)
class ListedImages(os.PathLike[str]):
    """Images whose list was read already, where the path of a folder or a table may stand, too.

    Args:
        items: the images.
        root: the folder their ids are relative to.
        source: what a message calls the list; its path, where one is asked for.
    """

    items: Sequence[Item]
    root: str
    source: str

    def __fspath__(self) -> str:
        return self.source


def names_image(path: PathLike) -> bool:
    """Whether a file is there whose name says that it is an image."""
    file = pathlib.Path(path)
    return file.suffix.lower() in accepted_suffixes() and file.is_file()


def list_files(files: Sequence[PathLike]) -> tuple[list[Item], str]:
    """Files as items, whose ids are their paths below the folder that they share; and that folder.

    Args:
        files: at least one; none is opened.

    Raises:
        DataError: one stands there twice; names it.
    """
    paths = [os.path.abspath(one) for one in files]
    known: dict[str, int] = {}
    for number, path in enumerate(paths, 1):
        before = known.setdefault(path, number)
        if before != number:
            raise DataError(
                f"{path}: is file {before} and file {number} of the list, must be once: leave one"
                " out"
            )
    root = os.path.commonpath([os.path.dirname(path) for path in paths])
    names = [os.path.relpath(path, root).replace(os.sep, "/") for path in paths]
    return [Item(path, id=name) for path, name in zip(paths, names, strict=True)], root


def list_lines(lines: Iterable[str], base: PathLike, source: str) -> tuple[list[Item], str]:
    """The files that lines name, one a line; blank lines are passed over.

    Args:
        lines: of a list; such as `ls` or `find` print them.
        base: the folder that relative paths start from.
        source: what an error calls the list.

    Raises:
        DataError: it names no file, one twice, or one on another machine; names the line.
    """
    known: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        name = line.rstrip("\r\n")
        if not name.strip():
            continue
        if "://" in name or "\0" in name:
            raise DataError(
                f"{source}:{number}: {name!r} is no file of this machine: download it, and name the"
                " file here"
            )
        path = os.path.normpath(os.path.join(os.path.abspath(base), name))
        before = known.setdefault(path, number)
        if before != number:
            raise DataError(
                f"{source}:{number}: {name!r} stands in line {before} already, must be once"
            )
    if not known:
        raise DataError(f"{source}: names no image: expected the path of one in every line")
    return list_files(list(known))


def read_list(path: PathLike) -> tuple[list[Item], str] | None:
    """The files that a text file lists; None where it is no such list, but a table with a header.

    Raises:
        DataError: as `list_lines`, or it is no text in UTF-8.
    """
    file = pathlib.Path(path)
    if file.suffix.lower() != ".txt" or not file.is_file():
        return None
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as text in UTF-8 ({error})") from error
    header = lines[0] if lines else ""
    if "path" in header.replace(";", ",").replace("\t", ",").split(","):
        return None
    return list_lines(lines, file.parent, str(path))
