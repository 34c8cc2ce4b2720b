"""An index by its name: a folder, or a URI of Milvus."""

from __future__ import annotations

import os

from ..errors import UsageError
from ..io.paths import PathLike
from .folder_index import Index
from .milvus_index import MilvusIndex, is_milvus
from .store import Store


def open_store(name: PathLike) -> Store:
    """Open an index.

    Args:
        name: a folder; a path that ends in ".db" for Milvus Lite; or "milvus://host:port". Behind
            "#" stands the collection.

    Raises:
        UsageError: it is another kind of URI. DataError: it is no index.
    """
    text = os.fspath(name)
    if is_milvus(text):
        return MilvusIndex(text)
    check_folder_name(text)
    return Index.open(name)


def check_folder_name(name: str) -> None:
    """Check that a name is none of a database.

    Raises:
        UsageError: it is.
    """
    if "://" in name:
        raise UsageError(
            f"{name}: no such index can be opened: name a folder, a path that ends in .db, or"
            " milvus://host:port"
        )
