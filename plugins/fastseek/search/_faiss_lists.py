"""Inverted lists of faiss on disk: built a part at a time, merged into one file, mapped to be read.

The file is the one that faiss itself would write of the same index in memory, and takes the memory
of one part to make. Every list is sorted by row, so that an index to which rows were added, and
from which rows were removed, is that of the rows that are left. Codes differ in their last digit
with the number of vectors that BLAS is given at once; exact scores hide that.
"""

from __future__ import annotations

import contextlib
import logging
import pathlib
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any, NamedTuple

import numpy as np

from ..errors import RunError
from ..io.atomic import atomic
from ..io.json_files import read_json, write_json
from ..io.locks import LOCK, hold_folder
from ..io.paths import PathLike
from ..knn.vectors import blocks
from ..progress import progress
from ..structures import Embeddings
from ..structures.arrays import IntArray
from ._faiss_file import write_index
from ._faiss_library import ROWS, import_faiss, move_to_gpus

PART = 1 << 28  # bytes of codes that are held in memory while an index is built
POINTS = 39  # vectors a list that k-means wants, by faiss
LEARN = 64  # vectors a list that it is given
ID = 8  # bytes of a row's number
logger = logging.getLogger("fastseek")


class Part(NamedTuple):
    """Some rows of an index: faiss's, and what each of its numbers is called now.

    `rows` [N] is None where the numbers stay; a row of -1 is left out.
    """

    index: Any
    rows: IntArray | None = None


class Source(NamedTuple):
    """The vectors of an index: a gallery, how they are compared, and what tells this index from any
    other one.
    """

    gallery: Embeddings
    metric: str
    key: str


def count_lists(count: int, train: int = 0) -> int:
    """How many lists a gallery of `count` vectors gets: twice the root of its size, and no more
    than k-means has vectors for; with `train`, no more than it is given.
    """
    return max(1, min(round(2 * count**0.5), count // POINTS, train or count))


def make_rabitq(dim: int, lists: int, kind: int, bits: int, seed: int) -> Any:
    """An IVF-RaBitQ index, not trained; `kind` is the metric of faiss.

    Vectors are rotated first, as the method asks: without that, 2 bits a number find 0.87 where they
    find 0.99, of vectors whose first numbers vary more than the last.
    """
    faiss = import_faiss()
    turn = faiss.RandomRotationMatrix(dim, dim)
    turn.init(seed)
    lists = faiss.IndexIVFRaBitQ(faiss.IndexFlat(dim, kind), dim, lists, kind, True, bits)
    return faiss.IndexPreTransform(turn, lists)


def lists_of(index: Any) -> Any:
    """The inverted lists of an index; they live as long as it does."""
    return index if hasattr(index, "invlists") else import_faiss().downcast_index(index.index)


def _rotate(index: Any, vectors: np.ndarray) -> np.ndarray:
    """Vectors as the lists of an index take them."""
    turned: np.ndarray = vectors if hasattr(index, "invlists") else index.chain.at(0).apply(vectors)
    return turned


def draw_rows(count: int, wanted: int, seed: int) -> IntArray:
    """`wanted` of `count` rows, drawn by a seed, rising."""
    drawn = np.random.default_rng(seed).choice(count, min(count, wanted), False, shuffle=False)
    rows: IntArray = np.sort(drawn).astype(np.int64)
    return rows


def train_lists(index: Any, vectors: np.ndarray, seed: int, spherical: bool) -> None:
    """Cluster vectors into the lists of an index, on GPUs if this faiss sees any.

    The number of threads changes nothing: k-means in faiss sums every cluster in the order of the
    vectors.

    Args:
        index: not trained yet.
        vectors: [N, D], at least as many as it has lists; fewer than 39 a list give a warning.
        seed: of the clusters.
        spherical: whether their centers get length 1.
    """
    lists = lists_of(index)
    if len(vectors) < POINTS * lists.nlist and lists.nlist > 1:
        logger.warning(
            "%d vectors for the %d lists of an index are few, and more find more: faiss wants %d",
            len(vectors),
            lists.nlist,
            POINTS * lists.nlist,
        )
    lists.cp.seed, lists.cp.spherical, lists.cp.min_points_per_centroid = seed, spherical, 1
    flat = import_faiss().IndexFlat(lists.d, lists.metric_type)
    assign = move_to_gpus(flat, 1)
    if assign is not flat:
        lists.clustering_index = assign
    index.train(vectors)
    lists.clustering_index = None


@contextlib.contextmanager
def hold_work_folder(path: PathLike) -> Iterator[pathlib.Path]:
    """The folder beside a file in which what it is made of lies until it is made.

    It is removed at a good end, and stays where the work was stopped, so that it goes on there.

    Raises:
        RunError: another process is at the same work.
    """
    path = pathlib.Path(path)
    work = path.with_name(f".{path.name}.parts")
    with hold_folder(work):
        yield work
        clear_folder(work)
    with contextlib.suppress(OSError):  # another process may be about to begin
        work.rmdir()


def clear_folder(work: pathlib.Path) -> None:
    """Remove what lies in a folder that this process holds."""
    for path in work.iterdir():
        if path.name != LOCK:
            path.unlink()


def write_lists(
    path: PathLike, work: pathlib.Path, source: Source, make: Callable[[], Any]
) -> None:
    """Write an index of some vectors, whole or not at all.

    Args:
        path: the file.
        work: a folder of this process, for what is trained and every part that is full: a build
            that was killed goes on there.
        source: the vectors.
        make: makes an index, trained and empty.

    Raises:
        DataError: a vector cannot be scored; names its id.
    """
    trained = _train_once(work, source.key, make)
    held, count = max(1, PART // (lists_of(trained).code_size + ID)), len(source.gallery)
    if count <= held:
        _fill(trained, source, 0, count)
        with atomic(path) as file:
            write_index(file, trained)
        return
    starts = range(0, count, held)
    parts = [_write_part(work, trained, source, start, held) for start in starts]
    trained.reset()
    with atomic(path) as file:
        merge_lists(file, trained, [Part(open_lists(part)) for part in parts])


def _train_once(work: pathlib.Path, key: str, make: Callable[[], Any]) -> Any:
    """What `make` makes, from the folder of a killed build of the same key if it lies there."""
    page, kept = work / "key.json", work / "trained.faiss"
    if page.exists() and kept.exists() and read_json(page) == key:
        return import_faiss().read_index(str(kept))
    clear_folder(work)
    trained = make()
    with atomic(kept) as file:
        write_index(file, trained)
    write_json(page, key)
    return trained


def _write_part(
    work: pathlib.Path, trained: Any, source: Source, start: int, held: int
) -> pathlib.Path:
    path = work / f"{start:012d}.faiss"
    if not path.exists():
        _fill(trained, source, start, start + held)
        with atomic(path) as file:
            write_index(file, trained)
    return path


def _fill(index: Any, source: Source, first: int, stop: int) -> None:
    """Put some rows into an index under their numbers, and only them."""
    index.reset()
    lists, gallery = lists_of(index), source.gallery
    assign = move_to_gpus(lists.quantizer, 1)
    total = -(-(min(stop, len(gallery)) - first) // ROWS)
    parts = blocks(gallery, source.metric, ROWS, first, stop)
    for here, block in progress(parts, "index", total):
        vectors = np.ascontiguousarray(_rotate(index, block))
        rows = np.arange(here.start, here.stop)
        if assign is lists.quantizer:
            lists.add_with_ids(vectors, rows)
        else:
            pointer = import_faiss().swig_ptr
            found = np.ascontiguousarray(assign.search(vectors, 1)[1].ravel(), np.int64)
            lists.add_core(len(rows), pointer(vectors), pointer(rows), pointer(found))
    index.ntotal = lists.ntotal


def open_lists(path: PathLike) -> Any:
    """An index whose lists stay on disk, mapped, where the system can.

    Raises:
        RuntimeError: faiss cannot read it.
    """
    faiss = import_faiss()
    flags = faiss.IO_FLAG_MMAP if hasattr(faiss, "OnDiskInvertedLists") else 0
    return faiss.read_index(str(path), flags)


def empty_lists(path: PathLike) -> Any:
    """The index in a file, as it was trained, without its rows."""
    faiss = import_faiss()
    index = open_lists(path)
    lists = lists_of(index)
    none = faiss.ArrayInvertedLists(lists.nlist, lists.code_size)
    none.this.disown()
    lists.replace_invlists(none, True)
    index.ntotal = lists.ntotal = 0
    return index


def merge_lists(file: IO[bytes], trained: Any, parts: Sequence[Part]) -> None:
    """Write the index that holds the rows of several, list by list.

    Args:
        file: open for writing.
        trained: what all of them were made from, empty.
        parts: no two of them hold the same row.

    Raises:
        RunError: this faiss writes lists in another form.
    """
    sizes = np.zeros(lists_of(trained).nlist, np.uint64)
    for part in parts:
        sizes += _count_rows(part)
    file.write(_head(trained, sizes))
    for number in range(len(sizes)):
        if sizes[number]:
            read = [_read_list(part, number) for part in parts]
            rows, codes = (np.concatenate(column) for column in zip(*read, strict=True))
            order = np.argsort(rows, kind="stable")
            file.write(np.ascontiguousarray(codes[order]).data)
            file.write(np.ascontiguousarray(rows[order]).data)


def _count_rows(part: Part) -> np.ndarray:
    """How many rows stay in every list."""
    lists = lists_of(part.index).invlists
    if part.rows is None:
        sizes = [lists.list_size(number) for number in range(lists.nlist)]
    else:
        sizes = [len(_read_list(part, number)[0]) for number in range(lists.nlist)]
    return np.array(sizes, np.uint64)


def _read_list(part: Part, number: int) -> tuple[IntArray, np.ndarray]:
    """The rows [N] and codes [N, B] of one list."""
    lists, view = lists_of(part.index).invlists, import_faiss().rev_swig_ptr
    size, width = lists.list_size(number), lists.code_size
    if not size:
        return np.zeros(0, np.int64), np.zeros((0, width), np.uint8)
    rows = view(lists.get_ids(number), size)
    codes = view(lists.get_codes(number), size * width).reshape(size, width)
    if part.rows is None:
        return rows, codes
    now = part.rows[rows]
    return now[now >= 0], codes[now >= 0]


def _head(trained: Any, sizes: np.ndarray) -> bytes:
    """What stands before the lists: all of the index but them, and their sizes."""
    faiss, ivf = import_faiss(), lists_of(trained)
    trained.ntotal = ivf.ntotal = int(sizes.sum())
    whole = faiss.serialize_index(trained).tobytes()
    trained.ntotal = ivf.ntotal = 0
    lists = b"ilar" + struct.pack("<QQ", ivf.nlist, ivf.code_size)
    empty = lists + b"sprs" + struct.pack("<Q", 0)
    if not whole.endswith(empty):
        raise RunError(
            f"faiss {faiss.__version__} writes inverted lists in another form than this version"
            " knows: pip install faiss-cpu==1.15.1"
        )
    filled = np.flatnonzero(sizes)
    if 2 * len(filled) > len(sizes):
        told, kind = sizes, b"full"
    else:
        told, kind = np.column_stack([filled, sizes[filled]]).astype(np.uint64).ravel(), b"sprs"
    return whole[: -len(empty)] + lists + kind + struct.pack("<Q", told.size) + told.tobytes()
