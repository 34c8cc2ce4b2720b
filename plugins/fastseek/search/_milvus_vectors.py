"""The vectors of Milvus: the types of their numbers, which servers have them, and how they travel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..errors import DataError, UsageError
from ._milvus_types import Version, spell_version

WHOLE = 127  # what 1 is in whole numbers of eight bits


class VectorType(NamedTuple):
    """How the numbers of a vector are stored: the name of Milvus, and since which server."""

    milvus: str
    since: Version = ()


VECTORS = {
    "float32": VectorType("FLOAT_VECTOR"),
    "float16": VectorType("FLOAT16_VECTOR", (2, 4)),
    "bfloat16": VectorType("BFLOAT16_VECTOR", (2, 4)),
    "int8": VectorType("INT8_VECTOR", (2, 6)),
}


def check_vector_type(dtype: str, metric: str, embedded: bool, version: Version) -> VectorType:
    """The vectors of Milvus for a type of numbers.

    Raises:
        UsageError: there is no such type, or the database has none. A server of 2.3 takes vectors
            of float16, and answers with wrong images.
    """
    if dtype not in VECTORS:
        raise UsageError(f"dtype must be one of {', '.join(VECTORS)}, got {dtype!r}")
    if dtype == "int8" and metric != "cosine":
        raise UsageError(f"int8 keeps vectors of length 1: metric must be cosine, got {metric!r}")
    found = VECTORS[dtype]
    if embedded and dtype != "float32":
        raise UsageError(f"an embedded database has vectors of float32 only, not of {dtype}")
    if not embedded and version < found.since:
        raise UsageError(
            f"vectors of {dtype} need Milvus {spell_version(found.since)}, and this server is"
            f" {spell_version(version)}: take float32, or upgrade the server"
        )
    return found


def encode_vectors(block: np.ndarray, dtype: str) -> np.ndarray:
    """Vectors [N, D] float32 as pymilvus sends them.

    Raises:
        DataError: a number is too large for the type.
        UsageError: ml_dtypes is not installed, which numpy needs for bfloat16.
    """
    if dtype == "int8":
        return np.rint(block * WHOLE).astype(np.int8)
    if dtype == "float32":
        return block
    with np.errstate(over="ignore"):
        made = block.astype(_numpy_type(dtype))
    if not np.isfinite(made.astype(np.float32)).all():
        raise DataError(f"a vector is too long for {dtype}: take float32")
    return made


def decode_vectors(given: Sequence[Any], dtype: str) -> np.ndarray:
    """Vectors as pymilvus gives them, as [N, D] float32."""
    if dtype == "float32":
        return np.array(given, np.float32)
    kind = np.dtype(np.int8) if dtype == "int8" else _numpy_type(dtype)
    rows = [np.frombuffer(one, kind) if isinstance(one, bytes) else one for one in given]
    made = np.array(rows, kind).astype(np.float32)
    return made / WHOLE if dtype == "int8" else made


def _numpy_type(dtype: str) -> np.dtype[Any]:
    if dtype == "float16":
        return np.dtype(np.float16)
    try:
        import ml_dtypes
    except ImportError as error:
        raise UsageError("ml_dtypes is not installed: pip install ml_dtypes") from error
    return np.dtype(ml_dtypes.bfloat16)
