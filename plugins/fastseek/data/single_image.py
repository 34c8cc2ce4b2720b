"""One image where a folder or a table of images may be named too."""

from __future__ import annotations

import os
import pathlib

from ..errors import DataError
from ..io.paths import PathLike
from ..structures import Item
from .images import BadImage, decode

TABLES = (".csv", ".parquet", ".pq", ".txt", ".tsv", ".tar", "")


def read_single_image(images: PathLike) -> Item | None:
    """The image that a file is, known by its name; None for a folder, a table, or what is not here.

    Raises:
        DataError: it is a file of another kind.
    """
    path = pathlib.Path(images)
    if not path.is_file() or path.suffix.lower() in TABLES:
        return None
    try:
        decode(path)
    except BadImage as error:
        raise DataError(
            f"{path} is neither an image ({error.detail}) nor a .csv or .parquet table: name one of"
            " these, a .tar, or a folder of images; what is compressed is unpacked first"
        ) from error
    return Item(path=os.fspath(path), label="", split="train", id=path.name)
