"""The switch "test data may be used": allowed in Sorghum-100, forbidden in DIGIX 2020."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from ..errors import UsageError
from ..io.digests import sha256
from ..structures import Item

HELD_BACK = ("query", "gallery")


def check_allowed(unlabelled: Sequence[Item], test: Iterable[Item], allowed: bool) -> None:
    """Refuse to learn from images that are there to be tested with.

    An image counts as one when its split is "query" or "gallery", or when it has the bytes of a
    test image: under whatever name, as a link or as a copy.

    Args:
        unlabelled: images a model shall learn from.
        test: all images it is or will be tested with.
        allowed: the task allows it.

    Raises:
        UsageError: not allowed, and there is such an image; names the first.
    """
    if allowed:
        return
    known = _TestFiles(test)
    found = [item for item in unlabelled if item.split in HELD_BACK or item.path in known]
    if found:
        raise UsageError(
            f"{len(found)} of {len(unlabelled)} unlabelled images are test images, the first is "
            f"{found[0].id!r}: leave them out, or say TEST_DATA: true if the task allows it"
        )


class _TestFiles:
    """Files by what they hold; a file is only read when a test file has its very size."""

    def __init__(self, items: Iterable[Item]) -> None:
        self._real: set[str] = set()
        self._by_size: dict[int, set[str]] = {}
        self._hashes: dict[int, set[str]] = {}
        for item in items:
            self._real.add(os.path.realpath(item.path))
            size = _size(item.path)
            if size:
                self._by_size.setdefault(size, set()).add(item.path)

    def __contains__(self, path: str) -> bool:
        if os.path.realpath(path) in self._real:
            return True
        size = _size(path)
        return size in self._by_size and sha256(path) in self._hashes_of(size)

    def _hashes_of(self, size: int) -> set[str]:
        if size not in self._hashes:
            self._hashes[size] = {sha256(path) for path in self._by_size[size]}
        return self._hashes[size]


def _size(path: str) -> int:
    """Bytes of a file; 0 where there is none that can be read."""
    try:
        return os.path.getsize(path) if os.access(path, os.R_OK) else 0
    except OSError:
        return 0
