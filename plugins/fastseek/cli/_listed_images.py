"""Images that an option names, a list on standard input among them."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from ..io.paths import PathLike
from ..structures import Item
from ..structures.file_list import list_lines

STDIN = "-"


def read_images(given: PathLike) -> tuple[Sequence[Item], str]:
    """As `images_of`, or "-" for a list on standard input, an image a line.

    Raises:
        DataError: nothing is there, a file of another kind, or an id that names two files.
    """
    if os.fspath(given) == STDIN:
        return list_lines(sys.stdin, os.curdir, "standard input")
    from ..data.own_images import images_of  # it needs Pillow, which vectors do not

    return images_of(given)
