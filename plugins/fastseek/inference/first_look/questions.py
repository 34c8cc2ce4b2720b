"""Images that are searched for: of the folder itself, or of elsewhere."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Sequence

from ...data.own_images import images_of
from ...errors import DataError
from ...io.paths import PathLike
from ...structures import Item
from ...structures.file_list import ListedImages

ASKED = "asked"  # the root of their names, which is no folder


@dataclasses.dataclass(frozen=True)
class Question:
    """One image to search for.

    Args:
        name: what the page calls it; no two are called alike.
        path: its file.
        inside: its id in the folder that is searched, "" where it is of elsewhere.
    """

    name: str
    path: str
    inside: str


def check_sources(sources: Sequence[PathLike]) -> None:
    """Check that files and folders are there, before a model is loaded.

    Raises:
        DataError: one is not.
    """
    for one in sources:
        # What is on another machine is told as such when it is read.
        is_here = isinstance(one, ListedImages) or os.path.exists(one)
        if "://" not in os.fspath(one) and not is_here:
            raise DataError(f"{one}: there is no such file or folder: name a folder of images")


def read_questions(asked: Sequence[PathLike], items: Sequence[Item]) -> list[Question]:
    """The images of some files and folders, each once.

    Args:
        asked: files, folders or tables.
        items: the images that are searched.

    Raises:
        DataError: one is not there, or is no image.
    """
    inside = {os.path.realpath(item.path): item.id for item in items} if asked else {}
    found: dict[str, Question] = {}
    names: dict[str, int] = {}
    for one in asked:
        for item in images_of(one)[0]:
            real = os.path.realpath(item.path)
            if real in found:
                continue
            name = inside.get(real) or pathlib.PurePath(item.path).name
            names[name] = names.get(name, 0) + 1
            shown = name if names[name] == 1 else f"{name} ({names[name]})"
            found[real] = Question(shown, item.path, inside.get(real, ""))
    return list(found.values())
