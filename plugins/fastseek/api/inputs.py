"""What the functions of the API accept for embeddings, a truth, and call strings."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from ..errors import DataError, UsageError
from ..io.paths import PathLike
from ..structures import Embeddings, GroundTruth, Ranking
from ..structures.ground_truth_file import Labels, label_truth, read_truth
from ..structures.provenance import ARRAY, tell_root

Vectors = Embeddings | np.ndarray | PathLike
Truth = GroundTruth | Labels | PathLike
Calls = str | Sequence[str]


def load_embeddings(path: PathLike, verify: bool = True) -> Embeddings:
    """Open an embeddings folder, or a bare .npy or .safetensors file, whose rows become the ids.

    Args:
        path: the folder or file; vectors are memory-mapped.
        verify: whether all bytes of a folder are compared with their hashes now.

    Raises:
        DataError: nothing readable is there. ArtefactError: it is damaged.
    """
    return tell_root(Embeddings.load(path, verify), path)


def load_truth(table: Truth, ranking: Ranking) -> GroundTruth:
    """What is relevant to the queries of a ranking.

    Args:
        table: a CSV file id,label[,split,group], an .npz file, a mapping id -> label, or a pair:
            the labels of the queries and those of the gallery, in the order of the ranking.
            Relevant is the same label; the query itself is left out.
        ranking: tells which images are asked for and searched.

    Raises:
        DataError: it cannot be read. ArtefactError: an image of the ranking is not in it.
        UsageError: it is something else.
    """
    if isinstance(table, GroundTruth):
        return table
    if isinstance(table, Mapping | tuple):
        return label_truth(table, ranking)
    if not isinstance(table, str | os.PathLike):
        raise UsageError(
            "the truth: expected a GroundTruth, a path, a mapping id -> label or a pair of labels,"
            f" got {type(table).__name__}"
        )
    return read_truth(table, ranking)


def as_embeddings(vectors: Vectors, what: str) -> Embeddings:
    """Embeddings as they are, an array with its row numbers as ids, or what a path holds.

    Args:
        vectors: an array is [N, D] floats.
        what: what an error calls it.

    Raises:
        DataError: an array of another kind, or nothing readable. UsageError: something else.
    """
    if isinstance(vectors, Embeddings):
        return vectors
    if isinstance(vectors, str | os.PathLike):
        return load_embeddings(vectors)
    if isinstance(vectors, list | tuple) or hasattr(vectors, "__array__"):
        if not isinstance(vectors, np.ndarray):
            raise UsageError(
                f"{what}: expected embeddings, an array [N, D] or a path, got"
                f" {type(vectors).__name__}; make it a numpy array: numpy.asarray(vectors)"
            )
    if not isinstance(vectors, np.ndarray):
        raise UsageError(
            f"{what}: expected embeddings, an array [N, D] or a path, got"
            f" {type(vectors).__name__}; images are embedded first: fastseek.embed(images)"
        )
    return number_rows(vectors, what)


def as_calls(calls: Calls) -> list[str]:
    """One call string, or several, as a list.

    Raises:
        UsageError: it is something else.
    """
    several = [calls] if isinstance(calls, str) else calls
    made = list(several) if isinstance(several, Iterable) else [several]
    if not all(isinstance(one, str) for one in made):
        raise UsageError(
            f"expected a call string such as 'name()', or a list of them, got {calls!r}"
        )
    return made


def number_rows(vectors: np.ndarray, what: str) -> Embeddings:
    """An array [N, D] as embeddings with its row numbers as ids.

    Row 0 of one array is not row 0 of another, and equal arrays hold the same images: so the root
    of the ids is the digest of the array.

    Args:
        vectors: floats.
        what: what an error calls it.

    Raises:
        DataError: it is an array of another kind.
    """
    if vectors.ndim != 2 or vectors.dtype.kind != "f":
        raise DataError(
            f"{what}: expected an array [N, D] of floats, got {vectors.dtype} {vectors.shape}"
        )
    if vectors.dtype.itemsize > 4:
        vectors = vectors.astype(np.float32)
    digest = hashlib.sha256(np.ascontiguousarray(vectors).data).hexdigest()
    return Embeddings(np.arange(len(vectors)).astype(str), vectors, {"root": f"{ARRAY}{digest}"})
