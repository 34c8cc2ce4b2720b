"""Images that an option names, a list on standard input among them."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..io.paths import PathLike

STDIN = "-"
IMAGES = (
    "a folder (searched through), one image, a CSV/Parquet file with path, a .tar, an address, a"
    " .txt file that lists files, or - for such a list on standard input"
)


def take_images(given: str) -> PathLike:
    """What an option of images is given; "-" is a list on standard input, an image a line.

    It is the `type` of every such option, so that all commands take the same.

    Raises:
        DataError: the list names no image, one twice, or one of another machine.
    """
    if given != STDIN:
        return given
    from ..structures.file_list import ListedImages, list_lines  # help is shown without it

    source = "standard input"
    return ListedImages(*list_lines(sys.stdin, os.curdir, source), source)
