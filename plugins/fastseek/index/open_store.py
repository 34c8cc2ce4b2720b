"""An index by its name: a folder, or the URI of a database."""

from __future__ import annotations

import os

from ..errors import UsageError
from ..io.paths import PathLike
from .addresses import hide_password
from .folder_index import Index
from .milvus_index import MilvusIndex, is_milvus
from .postgres_index import PostgresIndex, is_postgres
from .store import Store


def open_store(name: PathLike) -> Store:
    """Open an index.

    Args:
        name: a folder; a path that ends in ".db" for Milvus Lite; "milvus://host:port"; or
            "postgresql://host/database". Behind "#" stands the name of the index in a database.

    Raises:
        UsageError: it is another kind of URI. DataError: it is no index.
        RunError: the database does not answer.
    """
    text = os.fspath(name)
    if is_milvus(text):
        return MilvusIndex(text)
    if is_postgres(text):
        return PostgresIndex(text)
    check_folder_name(text)
    return Index.open(name)


def is_database(name: str) -> bool:
    """Whether a name is one of an index in a database."""
    return is_milvus(name) or is_postgres(name)


def check_folder_name(name: str) -> None:
    """Check that a name is none of another kind of database.

    Raises:
        UsageError: it is.
    """
    if "://" in name:
        raise UsageError(
            f"{hide_password(name)}: no such index can be opened: name a folder, a path that ends in"
            " .db, milvus://host:port or postgresql://host/database"
        )
