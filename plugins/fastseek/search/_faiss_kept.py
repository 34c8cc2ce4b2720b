"""The inverted lists of a gallery in a file: built once, brought up to date when it has changed."""

from __future__ import annotations

import hashlib
import logging
import pathlib
import zipfile
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..errors import UsageError
from ..io.atomic import atomic
from ..knn.vectors import blocks
from ..structures import Embeddings
from ..structures.archive import Provenance
from ..structures.arrays import Picked
from ._faiss_file import IndexFile
from ._faiss_library import ROWS
from ._faiss_lists import (
    Part,
    Source,
    draw_rows,
    empty_lists,
    hold_work_folder,
    lists_of,
    merge_lists,
    open_lists,
    train_lists,
    write_lists,
)
from ._faiss_probes import measure_settings
from ._row_digests import DigestArray, match_rows

STALE = 1 / 3  # of a gallery: where more is new, or more gone, the lists are learnt anew
GROWN = 2  # times what it was when the lists were learnt: the same
LEARN, LEAST = 64, 20_000  # vectors learnt from: a list, and in all
logger = logging.getLogger("fastseek")


class Wanted(NamedTuple):
    """An index that is wanted.

    `kept` where; `gallery` of what, and the `digests` of its rows; `metric` and `seed` as for a
    search; `train` how many vectors it learns from, 0 for enough; `create` makes it, not trained.
    """

    kept: IndexFile
    gallery: Embeddings
    digests: DigestArray
    metric: str
    seed: int
    train: int
    create: Callable[[], Any]


def open_kept(wanted: Wanted, provenance: Provenance) -> tuple[Any, dict[str, Any]]:
    """The index, mapped, and its page.

    Args:
        wanted: what.
        provenance: of the queries.

    Raises:
        ArtefactError: the file is damaged, or of another index or model.
        UsageError: it is no index. RunError: another process is building it.
    """
    kept, digest = wanted.kept, join_digests(wanted.digests)
    page = _read_page(kept, provenance)
    if page is None or page["gallery"] != digest:
        with hold_work_folder(kept.path) as work:
            # Another process may have built it since.
            page = _read_page(kept, provenance)
            if page is None or page["gallery"] != digest:
                page = (page and _update(wanted, work, page)) or _build(wanted, work)
    return open_lists(kept.path), page


def _read_page(kept: IndexFile, provenance: Provenance) -> dict[str, Any] | None:
    """What is told of the index that is there, None where none is."""
    page = kept.read_page(provenance) if kept.is_there() else None
    if page and not (kept.is_older_than_page() or kept.has_digest(page)):
        raise kept.damaged()
    return page


def _build(wanted: Wanted, work: pathlib.Path) -> dict[str, Any]:
    kept, digest = wanted.kept, join_digests(wanted.digests)
    kept.check_ours(wanted.create())
    _check_rows(_rows_file(kept))
    kept.page.unlink(missing_ok=True)  # what stood here before no longer counts
    source = Source(wanted.gallery, wanted.metric, f"{digest} {kept.options}")
    write_lists(kept.path, work, source, lambda: _learn(wanted))
    return _finish(wanted, len(wanted.digests))


def _learn(wanted: Wanted) -> Any:
    """An index that is trained on some of the gallery, drawn by the seed."""
    index, gallery = wanted.create(), wanted.gallery
    count = wanted.train or max(LEAST, LEARN * lists_of(index).nlist)
    rows = draw_rows(len(gallery), count, wanted.seed)
    some = Embeddings(gallery.ids[rows], Picked(gallery.vectors, rows))
    vectors = np.concatenate([block for _, block in blocks(some, wanted.metric, ROWS)])
    vectors = np.resize(vectors, (max(2, len(vectors)), gallery.dim))  # a code of one bit needs two
    train_lists(index, vectors, wanted.seed, wanted.metric == "cosine")
    return index


def _update(wanted: Wanted, work: pathlib.Path, page: dict[str, Any]) -> dict[str, Any] | None:
    """Put in the rows that are new and take out those that are gone; None where the file is better
    made anew.
    """
    kept, gallery, digests = wanted.kept, wanted.gallery, wanted.digests
    old = _read_rows(_rows_file(kept))
    if old is None or join_digests(old) != page["gallery"]:
        return None
    rows = match_rows(old, digests)
    is_new = np.ones(len(digests), bool)
    is_new[rows[rows >= 0]] = False
    fresh, gone = np.flatnonzero(is_new), int((rows < 0).sum())
    if max(len(fresh), gone) > STALE * len(digests) or len(digests) > GROWN * page["learnt of"]:
        return None
    change = f"has changed, {len(fresh)} images are new and {gone} gone"
    if not len(fresh) and not gone:
        change = "is in another order"
    logger.warning("%s: the gallery %s: it is brought up to date", kept.path, change)
    parts = [Part(open_lists(kept.path), rows)]
    if len(fresh):
        some = Embeddings(gallery.ids[fresh], Picked(gallery.vectors, fresh))
        source = Source(some, wanted.metric, f"{join_digests(digests)} {page['sha256']}")
        write_lists(work / "new.faiss", work, source, lambda: empty_lists(kept.path))
        parts.append(Part(open_lists(work / "new.faiss"), fresh))
    with atomic(kept.path) as file:
        merge_lists(file, empty_lists(kept.path), parts)
        kept.page.unlink()  # what stood here before no longer counts
    return _finish(wanted, page["learnt of"])


def _finish(wanted: Wanted, learnt: int) -> dict[str, Any]:
    """Make the index count."""
    kept = wanted.kept
    with atomic(_rows_file(kept)) as file:
        np.save(file, wanted.digests, allow_pickle=False)
    index = open_lists(kept.path)
    settings = measure_settings(index, wanted.gallery, wanted.metric, wanted.seed)
    more = {"learnt of": learnt, "settings": settings}
    return kept.write_page(join_digests(wanted.digests), wanted.gallery.provenance, **more)


def join_digests(digests: DigestArray) -> str:
    """What tells a gallery from others by its vectors, in their order."""
    return hashlib.sha256(digests.data).hexdigest()


def _rows_file(kept: IndexFile) -> pathlib.Path:
    return kept.path.with_name(f"{kept.path.name}.rows.npy")


def _read_rows(path: pathlib.Path) -> DigestArray | None:
    try:
        rows = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        return None
    is_array = isinstance(rows, np.ndarray)  # several of them are a file of .npz
    return rows if is_array and rows.dtype == np.uint64 and rows.ndim == 1 else None


def _check_rows(path: pathlib.Path) -> None:
    if path.exists() and path.stat().st_size and _read_rows(path) is None:
        raise UsageError(f"{path} is none of an index and would be lost: name another file")
