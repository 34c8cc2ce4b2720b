"""What a checkpoint remembers of the images it was trained on, so that a resume notices others."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..distributed import process_group
from ..errors import ArtefactError
from ..io.location_states import measure
from ..io.locations import absolute, read_bytes
from ..structures import Item

from fastreid.utils import comm

logger = logging.getLogger("fastreid.fastseek")
# Millions of files on a network disk take an hour to ask, so evenly spaced ones stand for all.
LOOKED_AT = 100_000  # of these names, labels, sizes and times
READ = 256  # of these the content
READ_BYTES = 2**20  # of each, from its start
WHAT = {
    "count": "their number",
    "names": "their names or labels",
    "sizes": "sizes of their files",
    "contents": "what is in their files",
}
Fingerprint = dict[str, Any]


def fingerprint(items: Sequence[Item]) -> Fingerprint:
    """Digests of the training images, as plain values.

    Args:
        items: in their order.

    Returns:
        {"count", "names", "sizes", "contents", "times"}; an image that cannot be read counts with
        what is known of it.
    """
    names, sizes, times = (hashlib.sha256() for _ in range(3))
    for item in _space_evenly(items, LOOKED_AT):
        size, time = measure(item.path)
        names.update(repr((item.id, item.label)).encode("utf-8", "surrogateescape"))
        sizes.update(f"{size} ".encode())
        times.update(f"{time} ".encode())
    contents = hashlib.sha256()
    for item in _space_evenly(items, READ):
        contents.update(_start_of(item.path))
    return {
        "count": len(items),
        "names": names.hexdigest(),
        "sizes": sizes.hexdigest(),
        "contents": contents.hexdigest(),
        "times": times.hexdigest(),
    }


def share_fingerprint(items: Sequence[Item]) -> Fingerprint:
    """`fingerprint` of rank 0, in every process: one alone that refuses leaves the others waiting."""
    return process_group.share(fingerprint(items) if comm.is_main_process() else {})


def check_same_images(before: Mapping[str, Any] | None, now: Mapping[str, Any]) -> None:
    """A run goes on only with the images it had.

    Args:
        before: the fingerprint of the checkpoint; None of version 0.1, which had none.
        now: that of the images there are.

    Raises:
        ArtefactError: they are others; says in what.
    """
    if before is None:
        return
    others = [told for key, told in WHAT.items() if before.get(key) != now[key]]
    if others:
        raise ArtefactError(
            f"the training images are others than the checkpoint's: {', '.join(others)} changed."
            " Put the images back, or start in a new OUTPUT_DIR with MODEL.WEIGHTS set to the"
            " weights of this run"
        )
    if before.get("times") != now["times"]:
        logger.warning(
            "the training images have other times of change than the checkpoint's; names, sizes and"
            " the contents of up to %d agree, so they are taken for the same",
            READ,
        )


def common_folder(items: Sequence[Item]) -> str:
    """The folder that holds the training images, as far as evenly spaced ones tell; "" where there
    is none, such as on two drives of Windows.
    """
    paths = [absolute(item.path) for item in _space_evenly(items, READ)]
    try:
        return os.path.commonpath(paths)
    except ValueError:
        return ""


def _space_evenly(items: Sequence[Item], most: int) -> list[Item]:
    """All items, or `most` of them, evenly spaced."""
    if len(items) <= most:
        return list(items)
    return [items[int(row)] for row in np.linspace(0, len(items) - 1, most).round()]


def _start_of(location: str) -> bytes:
    try:
        return hashlib.sha256(read_bytes(location, READ_BYTES)).digest()
    except OSError:
        return b"unreadable"
