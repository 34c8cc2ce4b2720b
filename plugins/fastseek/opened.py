"""Embeddings as a command opens them: compared with their hashes."""

from __future__ import annotations

import pathlib

from .files import PathLike
from .structures import Embeddings


def open_embeddings(path: PathLike) -> Embeddings:
    """Open embeddings as `Embeddings.load` does, and compare the bytes of a folder with its hashes.

    Raises:
        DataError, ArtefactError: they cannot be used, or were changed; names the file.
    """
    embeddings = Embeddings.load(path)
    if pathlib.Path(path).is_dir():
        embeddings.verify(path)
    return embeddings
