"""Rows as PostgreSQL copies them in binary: a vector is its bytes, and no number is spelled out."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import DataError
from ..knn.vectors import blocks
from ..structures import Embeddings

HEAD = b"PGCOPY\n\xff\r\n\x00" + struct.pack("!ii", 0, 0)
TAIL = struct.pack("!h", -1)
ROWS = 1000  # vectors looked at together
MISSING = struct.pack("!i", -1)


def as_stored(given: Embeddings, about: Mapping[str, Any]) -> np.ndarray:
    """Vectors [N, D] in the numbers of a table.

    Args:
        given: the images.
        about: what the index says of itself.

    Raises:
        DataError: one cannot be stored.
    """
    dtype = about.get("dtype", "float32")
    made = np.zeros(given.vectors.shape, dtype)
    for here, block in blocks(given, about["metric"], ROWS):
        with np.errstate(over="ignore"):
            made[here] = block
        bad = np.flatnonzero(~np.isfinite(made[here]).all(axis=1))
        if len(bad):
            name = given.ids[here][bad[0]]
            raise DataError(f"the vector of {str(name)!r} is too long for {dtype}")
    return made


def copy_rows(
    ids: Sequence[str],
    vectors: np.ndarray | None,
    values: Mapping[str, Sequence[Any]],
) -> Iterator[bytes]:
    """The bytes of COPY … FROM STDIN (FORMAT BINARY), a row at a time.

    Args:
        ids: [N], the first column.
        vectors: [N, D] float32 or float16, the second column; None for none.
        values: the other columns: texts, numbers, or None for a missing one.

    Raises:
        UnicodeEncodeError: a text is no UTF-8.
    """
    count = struct.pack("!h", 1 + (vectors is not None) + len(values))
    yield HEAD
    for row, name in enumerate(ids):
        fields = [_spell(name)]
        if vectors is not None:
            fields.append(_spell_vector(vectors[row]))
        fields += [_spell(column[row]) for column in values.values()]
        yield count + b"".join(fields)
    yield TAIL


def _spell(value: Any) -> bytes:
    if value is None:
        return MISSING
    if isinstance(value, str):
        text = value.encode("utf-8")
        return struct.pack("!i", len(text)) + text
    return struct.pack("!id", 8, value)


def _spell_vector(vector: np.ndarray) -> bytes:
    """A vector or halfvec of pgvector: its length, a zero, and its numbers, big end first."""
    numbers = vector.astype(vector.dtype.newbyteorder(">")).tobytes()
    return struct.pack("!ihh", 4 + len(numbers), len(vector), 0) + numbers
