"""The faiss structures of an index: approximate engines that propose, exact scores decide."""

from __future__ import annotations

import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import IO, Any, NamedTuple

import numpy as np

from ..errors import UsageError
from ..io.atomic import atomic
from ..knn.vectors import blocks, unit_vectors
from ..search._faiss_file import write_index
from ..search._faiss_library import ROWS, faiss_metric, import_faiss, require_rabitq
from ..search._faiss_lists import (
    LEARN,
    Source,
    count_lists,
    draw_rows,
    hold_work_folder,
    lists_of,
    make_rabitq,
    open_lists,
    train_lists,
    write_lists,
)
from ..search._faiss_probes import (
    DEPTHS,
    Setting,
    choose_setting,
    deepen_setting,
    measure_settings,
)
from ..structures import Embeddings
from ..structures.arrays import BoolArray, IntArray
from ..suggestions import did_you_mean
from .manifest import FileEntry, describe_file

FLAT, RABITQ = "flat", "ivf_rabitq"
ENGINES = (FLAT, "hnsw", RABITQ)
FLAT_BELOW = 20_000  # images; fewer are compared one by one in a few milliseconds
NEIGHBORS, BUILD, EF = 32, 100, 128  # of a graph: edges, candidates when built and when searched
BITS, TRAIN, SEED = 2, 20_000, 0  # of lists: bits a number, images learnt from at least
RECALL = 0.99  # that lists are to reach
PROBES, WIDEN = (
    32,
    4,
)  # of lists of an older version: how many are looked into, candidates an answer


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
    if name == RABITQ:
        require_rabitq("hnsw")
    if name != FLAT:
        import_faiss()


def build_structure(
    engine: str, path: pathlib.Path, vectors: Embeddings, metric: str, key: str
) -> FileEntry:
    """Write a faiss structure whose numbers are the rows of the vectors, whole or not at all.

    A graph is made in memory; lists a part at a time, and a build that was killed goes on.

    Args:
        engine: "hnsw" or "ivf_rabitq".
        path: the file.
        vectors: at least one.
        metric: "cosine", "ip" or "l2".
        key: tells these vectors from any others.
    """
    if engine == RABITQ:
        source = Source(vectors, metric, f"{key} {metric} {BITS}")
        # Another build of the same line goes on with it, whatever its file is called.
        with hold_work_folder(path.with_name("structure")) as work:
            write_lists(path, work, source, lambda: _learn_lists(vectors, metric))
    else:
        graph = import_faiss().IndexHNSWFlat(vectors.dim, NEIGHBORS, faiss_metric(metric))
        graph.hnsw.efConstruction = BUILD
        for _, block in blocks(vectors, metric, ROWS):
            graph.add(np.ascontiguousarray(block))
        with atomic(path) as file:
            write_index(file, graph)
    return describe_file(path)


def _learn_lists(vectors: Embeddings, metric: str) -> Any:
    lists = count_lists(len(vectors))
    made = make_rabitq(vectors.dim, lists, faiss_metric(metric), BITS, SEED)
    rows = draw_rows(len(vectors), max(TRAIN, LEARN * lists), SEED)
    drawn = np.asarray(vectors.vectors[rows], np.float32)
    unit = unit_vectors(drawn)[0] if metric == "cosine" else drawn
    train_lists(made, np.ascontiguousarray(unit), SEED, metric == "cosine")
    return made


def tune_structure(
    engine: str, structure: Any, vectors: Embeddings, metric: str
) -> tuple[dict[str, Any], ...]:
    """The settings with which a structure finds the share `RECALL` of the nearest images, one for
    few answers and one for many; none for a graph.
    """
    if engine != RABITQ:
        return ()
    told = measure_settings(structure, vectors, metric, SEED)
    mean = len(vectors) / lists_of(structure).nlist
    depths = DEPTHS if told else ()
    return tuple(choose_setting(told, k, RECALL, mean)._asdict() for k in depths)


def propose(
    engine: str, structure: Any, query: Query, settings: Sequence[Mapping[str, Any]] = ()
) -> IntArray:
    """Candidate rows [Q, M], -1 where there is none.

    Args:
        engine: of the structure.
        structure: from `read_structure`.
        query: what is asked.
        settings: from `tune_structure`; an older index has none.
    """
    faiss, allowed = import_faiss(), query.allowed
    if engine == RABITQ:
        found = deepen_setting(settings, query.depth) or Setting(PROBES, WIDEN * query.depth)
        lists = lists_of(structure).nlist
        asked, depth = faiss.IVFRaBitQSearchParameters(), found.candidates
        # Where few rows may be proposed, more lists hold as many of them.
        share = 1.0 if allowed is None else max(1, int(np.count_nonzero(allowed))) / len(allowed)
        asked.nprobe = min(lists, math.ceil(found.probes / share))
    else:
        asked, depth = faiss.SearchParametersHNSW(), query.depth
        asked.efSearch = min(max(EF, depth), structure.ntotal)
    if allowed is not None:
        # It keeps no copy of the bits: they must outlive the search.
        bits = np.packbits(allowed, bitorder="little")
        asked.sel = faiss.IDSelectorBitmap(bits)
    depth = min(depth, structure.ntotal)
    rows: IntArray = structure.search(np.ascontiguousarray(query.vectors), depth, params=asked)[1]
    return rows


def read_structure(path: pathlib.Path) -> Any:
    """Read a structure; lists stay on disk, mapped.

    Raises:
        RuntimeError: faiss cannot read it.
    """
    return open_lists(path)


def read_open_structure(file: IO[bytes]) -> Any:
    """Read a structure from a file that is open, and may have no name any more.

    Raises:
        RuntimeError: faiss cannot read it.
    """
    link = pathlib.Path(f"/proc/self/fd/{file.fileno()}")
    if link.exists():  # Linux opens it once more by this name, so that it can be mapped
        return open_lists(link)
    return import_faiss().read_index(import_faiss().PyCallbackIOReader(file.read))
