"""ILIAS (Kordopatis-Zilos et al. 2025): the lists of image_ids/."""

from __future__ import annotations

import gzip
import pathlib
from collections.abc import Iterator

from ..errors import DataError, refuse_exhausted
from ..io.paths import PathLike
from .listed import read_lines

QUERIES, POSITIVES = "image_query_ids.txt", "positive_ids.txt"
DISTRACTORS, MINI = "distractor_ids.txt.gz", "mini_ilias_yfcc100m_ids.txt"


def read_images(path: PathLike) -> list[str]:
    """Read image_query_ids.txt or positive_ids.txt: the first of comma-separated values is
    OBJECT/query/Q….jpg or OBJECT/pos/P….jpg; sorted, as the official evaluation takes them.

    Raises:
        DataError: the file is another; names the line.
    """
    found = []
    for line, text in enumerate(read_lines(path), 1):
        name = text.split(",")[0].strip()
        if not name:
            continue
        if name.count("/") != 2:
            raise DataError(f"{path}:{line}: expected OBJECT/query/IMAGE or OBJECT/pos/IMAGE")
        found.append(name)
    if len(set(found)) < len(found):
        raise DataError(f"{path}: an image stands twice, must be once")
    return sorted(found)


def instance_of(name: str) -> str:
    """The object that an image of ILIAS shows."""
    return name.split("/")[0]


def read_keys(path: PathLike) -> Iterator[str]:
    """Yield the names of a list of distractors, plain or compressed, a line each.

    Raises:
        DataError: it cannot be read.
    """
    try:
        open_text = gzip.open if pathlib.Path(path).suffix == ".gz" else open
        with open_text(path, "rt", encoding="utf-8") as file:
            for line in file:
                if line.strip():
                    yield line.strip()
    except (OSError, EOFError, UnicodeDecodeError) as error:
        refuse_exhausted(error, path)
        raise DataError(f"{path}: cannot be read ({error})") from error
