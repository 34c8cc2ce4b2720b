"""Batches that an old Milvus stores in two steps, kept in a file until both are done.

A server before 2.4 upserts an image into a partition that is not its own, so that images with a
partition key are deleted and inserted. Killed in between, they would be gone: whoever opens the
collection next on this machine inserts them.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import pathlib
import secrets
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import UsageError
from ..io.atomic import atomic
from ..io.json_files import read_json
from ..io.locks import try_lock
from ..io.paths import make_folder

logger = logging.getLogger("fastseek")
# The lock of a file is one of processes; threads of this one are told by this.
_running: set[pathlib.Path] = set()


@contextlib.contextmanager
def keep_batch(collection: str, rows: Sequence[Mapping[str, Any]]) -> Iterator[None]:
    """Keep rows in a file until the block is left without an error.

    Args:
        collection: with the database it is in.
        rows: what will be inserted.
    """
    path = _folder() / f"{_spell(collection)}-{secrets.token_hex(8)}.json"
    with contextlib.ExitStack() as held:
        try:
            make_folder(path.parent)
            _running.add(path)
            held.callback(_running.discard, path)
            with atomic(path, "w") as file:
                json.dump({"rows": list(rows)}, file, default=_as_json)
            kept = held.enter_context(open(path, "r+", encoding="utf-8"))
            try_lock(kept)
        except (OSError, UsageError) as error:
            logger.warning("a batch that is stopped halfway would be lost: %s", error)
        yield
        path.unlink(missing_ok=True)


def left_batches(collection: str) -> Iterator[list[dict[str, Any]]]:
    """Yield the rows of every batch that was stopped; each is forgotten once the next is asked for.

    Args:
        collection: as for `keep_batch`.
    """
    for path in sorted(_folder().glob(f"{_spell(collection)}-*.json")):
        if path in _running:
            continue
        with contextlib.suppress(FileNotFoundError), open(path, "r+", encoding="utf-8") as held:
            if try_lock(held):
                yield read_json(path)["rows"]
                path.unlink(missing_ok=True)


def _folder() -> pathlib.Path:
    return pathlib.Path.home() / ".cache/fastseek/milvus"


def _spell(collection: str) -> str:
    return hashlib.sha256(collection.encode()).hexdigest()[:16]


def _as_json(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is no JSON value")
