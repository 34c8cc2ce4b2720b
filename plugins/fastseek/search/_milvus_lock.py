"""One at a time: Milvus has no transactions, so what is read and then written is read and written
under a lock.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import threading
import time
from collections import defaultdict
from collections.abc import Iterator

from ..errors import FastSeekError
from ._milvus_connection import MilvusConnection

STALE = 10.0  # seconds after which a holder is taken for dead: a change of a page takes a tenth
PAUSE = 0.05
logger = logging.getLogger("fastseek")
_local: defaultdict[tuple[str, str], threading.RLock] = defaultdict(threading.RLock)


@contextlib.contextmanager
def hold_lock(connection: MilvusConnection, collection: str) -> Iterator[None]:
    """Be the only one that changes what a collection says of itself.

    The lock is an empty collection: of two that make one of the same name and another description a
    server refuses the second. A file is open in one process, where threads take turns.

    Args:
        connection: to the database.
        collection: what is changed.
    """
    if connection.embedded:
        with _local[connection.uri, collection]:
            yield
        return
    name, mine = f"{collection}_lock", secrets.token_hex(16)
    seen, since = "", time.monotonic()
    while not _take(connection, name, mine):
        holder = _find_holder(connection, name)
        if holder != seen:
            seen, since = holder, time.monotonic()
        elif holder and time.monotonic() - since > STALE:
            logger.warning("the lock %s is older than %g s, and taken over", name, STALE)
            _drop(connection, "take over a lock", name, seen)
        time.sleep(PAUSE)
    try:
        yield
    finally:
        _drop(connection, "leave a lock", name, mine)


def _drop(connection: MilvusConnection, what: str, name: str, holder: str) -> None:
    """Remove the lock of one holder; that of another stays."""
    if _find_holder(connection, name) == holder:
        connection.call(what, "drop_collection", name)


def _take(connection: MilvusConnection, name: str, mine: str) -> bool:
    kinds = connection.pymilvus.DataType
    schema = connection.client.create_schema(auto_id=False, description=mine)
    schema.add_field("id", kinds.INT64, is_primary=True)
    schema.add_field("vector", kinds.FLOAT_VECTOR, dim=2)
    for last in (False, False, True):
        try:
            connection.call("take a lock", "create_collection", name, schema=schema)
        except FastSeekError:
            if _find_holder(connection, name):
                break
            if last:  # nobody holds it: this is not why it failed
                raise
        else:
            break
    return _find_holder(connection, name) == mine


def _find_holder(connection: MilvusConnection, name: str) -> str:
    """What its holder calls itself, "" where nobody holds it."""
    if not connection.call("look for a lock", "has_collection", name, reads=True):
        return ""
    try:
        told = connection.call("look for a lock", "describe_collection", name, reads=True)
    except FastSeekError:  # left meanwhile
        return ""
    return str(told["description"])
