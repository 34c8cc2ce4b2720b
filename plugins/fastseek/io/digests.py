"""Hashes of files and values."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from .paths import PathLike


def sha256(path: PathLike) -> str:
    """SHA-256 of a file's bytes, as hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(value: Any) -> str:
    """SHA-256 of a value, as hexadecimal: of a text its letters, of all else its canonical JSON.

    Equal values have equal digests, whatever the order of their keys; tuples count as lists, and
    what JSON does not know as its text.
    """
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
