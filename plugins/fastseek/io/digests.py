"""Hashes of files and values."""

from __future__ import annotations

import hashlib

from .paths import PathLike


def sha256(path: PathLike) -> str:
    """SHA-256 of a file's bytes, as hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
