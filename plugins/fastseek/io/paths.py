"""Where data lives."""

from __future__ import annotations

import os
import pathlib

from ..errors import DataError

PathLike = str | os.PathLike[str]


def data_roots() -> list[pathlib.Path]:
    """The folders searched for data, in order: FASTREID_DATASETS, FASTSEEK_DATA,
    ~/.cache/fastseek.
    """
    named = [os.environ.get(name) for name in ("FASTREID_DATASETS", "FASTSEEK_DATA")]
    return [
        *(pathlib.Path(root) for root in named if root),
        pathlib.Path.home() / ".cache/fastseek",
    ]


def locate(name: PathLike, purpose: str = "it") -> pathlib.Path:
    """Find a file or folder: as it stands, else below the first of `data_roots` that has it.

    Raises:
        DataError: found nowhere; says in one line where it was looked for and where to put it.
    """
    candidates = [pathlib.Path(name)] + [root / name for root in data_roots()]
    for candidate in candidates:
        if candidate.exists():
            return candidate
    looked = ", ".join(str(root) for root in data_roots())
    raise DataError(
        f"{name} not found (for {purpose}): put it below one of {looked}, or set FASTREID_DATASETS"
    )
