"""What is remembered between runs: fetched weights, measured engines, written ONNX programs."""

from __future__ import annotations

import contextlib
import logging
import pathlib
from collections.abc import Mapping
from typing import Any

from ...errors import FastSeekError
from ...io.json_files import read_json, write_json
from ...io.locks import take_turn

logger = logging.getLogger("fastseek")


def cache_folder() -> pathlib.Path:
    """Where it is kept; anything in it may be removed at any time."""
    return pathlib.Path.home() / ".cache/fastseek/models"


def read_record(name: str) -> dict[str, Any]:
    """A file of records, {} where there is none.

    Args:
        name: of the file in the cache.

    Raises:
        DataError: the file is damaged; names it.
    """
    file = cache_folder() / name
    found = read_json(file) if file.exists() else {}
    return found if isinstance(found, dict) else {}


def forget_records(name: str) -> None:
    """Remove a file of records; for what is only slower to find out again, never for pins."""
    with contextlib.suppress(OSError):
        (cache_folder() / name).unlink(missing_ok=True)


def write_record(name: str, key: str, value: Mapping[str, Any]) -> None:
    """Put one record into a file of the cache, beside what other processes put there.

    A cache that cannot be written is no error: the next run finds out again.
    """
    try:
        with take_turn(cache_folder()):
            write_json(cache_folder() / name, {**read_record(name), key: dict(value)})
    except (FastSeekError, OSError) as error:
        logger.warning("%s is not remembered: %s", key, error)
