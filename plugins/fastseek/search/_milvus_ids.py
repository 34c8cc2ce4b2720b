"""Ids and names of collections as Milvus gets them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import quote, unquote

from ..errors import DataError, UsageError

LONGEST_ID = 4096
PLAIN = "/ ._-~,+=@:()[]&!#$;"  # kept as they are in keys


def encode_id(name: str) -> str:
    """An id as Milvus gets it: pymilvus writes keys into filter expressions as they are, so no
    quote may be in one.
    """
    return quote(name, safe=PLAIN, errors="surrogateescape")


def decode_id(key: str) -> str:
    """The id that `encode_id` made a key of."""
    return unquote(key, errors="surrogateescape")


def check_collection(name: str) -> None:
    """Check that a server of Milvus, and not only an embedded one, can have a collection so called.

    Raises:
        UsageError: it cannot.
    """
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,254}", name):
        raise UsageError(
            f"no collection can be called {name!r} in Milvus: letters, digits and _ make a name, which"
            " begins with no digit and has 255 of them at most"
        )


def check_ids(ids: Sequence[str]) -> None:
    """Check that Milvus can store ids.

    Raises:
        DataError: one is too long.
    """
    long = next((name for name in ids if len(encode_id(name)) > LONGEST_ID), None)
    if long is not None:
        raise DataError(f"the id {long[:60]!r}… is longer than {LONGEST_ID} bytes")
