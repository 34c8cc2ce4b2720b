"""The faiss structures of an index: approximate engines that propose, exact scores decide."""

from __future__ import annotations

import pathlib
from typing import IO, Any, NamedTuple

import numpy as np

from ..errors import UsageError
from ..io.atomic import atomic
from ..knn.vectors import blocks, unit_vectors
from ..search._faiss_library import import_faiss
from ..structures import Embeddings
from ..structures.arrays import BoolArray, IntArray
from ..suggestions import did_you_mean
from .manifest import FileEntry, describe_file

FLAT = "flat"
ENGINES = (FLAT, "hnsw", "ivf_rabitq")
FLAT_BELOW = 20_000  # images; fewer are compared one by one in a few milliseconds
NEIGHBORS, BUILD, EF = 32, 100, 128  # of a graph: edges, candidates when built and when searched
BITS, PROBES, TRAIN = 4, 32, 100_000  # of lists: bits a number, lists looked into, images learnt
WIDEN = {"hnsw": 1, "ivf_rabitq": 4}  # candidates that are proposed for one that is kept
ROWS = 16384  # vectors handed to faiss at once


class Query(NamedTuple):
    """What a structure is asked.

    `vectors` [Q, D] as they are compared; `depth` candidates each; `allowed` [N] which rows may be
    proposed, None for all.
    """

    vectors: np.ndarray
    depth: int
    allowed: BoolArray | None


def check_engine(name: str) -> None:
    """Check that an engine is known, and can be had here.

    Raises:
        UsageError: it is not; says what to do.
    """
    if name not in ENGINES:
        hint = did_you_mean(name, ENGINES)
        raise UsageError(f"engine must be one of {', '.join(ENGINES)}, got {name!r}{hint}")
    if name == "ivf_rabitq" and not hasattr(import_faiss(), "IndexIVFRaBitQ"):
        raise UsageError(
            f"ivf_rabitq needs faiss 1.12 or newer, here is {import_faiss().__version__}: pip"
            " install -U faiss-cpu, or use hnsw"
        )
    if name != FLAT:
        import_faiss()


def build_structure(engine: str, vectors: Embeddings, metric: str) -> Any:
    """A faiss structure whose numbers are the rows of the vectors.

    Args:
        engine: "hnsw" or "ivf_rabitq".
        vectors: at least one.
        metric: "cosine", "ip" or "l2".
    """
    made = _MAKE[engine](vectors.dim, len(vectors), metric)
    if not made.is_trained:
        made.train(_training_vectors(vectors, metric))
    for _, block in blocks(vectors, metric, ROWS):
        made.add(np.ascontiguousarray(block))
    return made


def _training_vectors(vectors: Embeddings, metric: str) -> np.ndarray:
    count = min(len(vectors), TRAIN)
    rows = np.sort(np.random.default_rng(0).permutation(len(vectors))[:count])
    drawn = np.asarray(vectors.vectors[rows], np.float32)
    return np.ascontiguousarray(unit_vectors(drawn)[0] if metric == "cosine" else drawn)


def propose(engine: str, structure: Any, query: Query) -> IntArray:
    """Candidate rows [Q, M], -1 where there is none."""
    faiss = import_faiss()
    depth = min(query.depth * WIDEN[engine], structure.ntotal)
    asked = faiss.SearchParametersHNSW() if engine == "hnsw" else faiss.IVFRaBitQSearchParameters()
    if engine == "hnsw":
        asked.efSearch = min(max(EF, depth), structure.ntotal)
    else:
        asked.nprobe = min(PROBES, structure.nlist)
    if query.allowed is not None:
        # It keeps no copy of the bits: they must outlive the search.
        bits = np.packbits(query.allowed, bitorder="little")
        asked.sel = faiss.IDSelectorBitmap(bits)
    rows: IntArray = structure.search(np.ascontiguousarray(query.vectors), depth, params=asked)[1]
    return rows


def write_structure(path: pathlib.Path, structure: Any) -> FileEntry:
    """Write a structure, whole or not at all."""
    with atomic(path) as file:
        import_faiss().write_index(structure, import_faiss().PyCallbackIOWriter(file.write))
    return describe_file(path)


def read_structure(path: pathlib.Path) -> Any:
    """Read what `write_structure` wrote.

    Raises:
        RuntimeError: faiss cannot read it.
    """
    return import_faiss().read_index(str(path))


def read_open_structure(file: IO[bytes]) -> Any:
    """Read what `write_structure` wrote from a file that is open, and may have no name any more.

    Raises:
        RuntimeError: faiss cannot read it.
    """
    return import_faiss().read_index(import_faiss().PyCallbackIOReader(file.read))


def _faiss_metric(metric: str) -> int:
    return import_faiss().METRIC_L2 if metric == "l2" else import_faiss().METRIC_INNER_PRODUCT


def _make_hnsw(dim: int, count: int, metric: str) -> Any:
    made = import_faiss().IndexHNSWFlat(dim, NEIGHBORS, _faiss_metric(metric))
    made.hnsw.efConstruction = BUILD
    return made


def _make_ivf_rabitq(dim: int, count: int, metric: str) -> Any:
    faiss, kind = import_faiss(), _faiss_metric(metric)
    lists = max(1, min(round(4 * count**0.5), count // 39))  # faiss wants 39 images a list
    made = faiss.IndexIVFRaBitQ(faiss.IndexFlat(dim, kind), dim, lists, kind, True, BITS)
    made.cp.seed, made.cp.spherical = 0, metric == "cosine"
    return made


_MAKE = {"hnsw": _make_hnsw, "ivf_rabitq": _make_ivf_rabitq}
