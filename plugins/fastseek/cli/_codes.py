"""Codes of embeddings, from whole vectors to one bit a number: bytes an image against a metric."""

from __future__ import annotations

import importlib.util
import pathlib
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from ..errors import UsageError
from ..io import csv_rows
from ..io.file_kinds import check_replaceable
from ..io.json_files import write_json
from ..io.paths import PathLike
from ..io.text_table import align_columns
from ..metrics import evaluate
from ..progress import progress
from ..registry import ENHANCERS, SEARCHERS, build
from ..search._recall import share_found
from ..structures import Embeddings, GroundTruth, Score, interval
from ..structures.ground_truth_file import read_truth
from ._search import read_side

USUAL = (
    "exact(k={k})",
    "quantized(k={k}, storage='bfloat16', rescore=4)",
    "quantized(k={k}, storage='int8', rescore=4)",
    "binary(k={k}, rescore=1)",
    "binary(k={k}, rescore=4)",
)
OF_FAISS = (
    "faiss_rabitq(k={k}, bits=4)",
    "faiss_rabitq(k={k}, bits=1)",
    "faiss_pq(k={k}, bytes_={eighth}, refine=4)",
)
SHORTEN = {"pca": "pca(dim={dim})", "first": "truncate(dim={dim})"}
COLUMNS = ("code", "numbers", "bytes", "metric", "value", "low", "high", "recall", "seconds")
RECALL_AT = 10


@runtime_checkable
class StoresCodes(Protocol):
    """A searcher that tells how large its codes are."""

    def code_bytes(self, dim: int) -> int:
        """Bytes of an image of `dim` numbers."""


class Wanted(NamedTuple):
    """What the table is to hold.

    Args:
        metric: call string of one metric.
        k: answers a query.
        dims: further lengths of the vectors.
        shorten: "pca" or "first".
        searches: call strings in place of the usual ones.
    """

    metric: str
    k: int
    dims: tuple[int, ...]
    shorten: str
    searches: tuple[str, ...]


class CodeRow(NamedTuple):
    """One line of the table; `recall` is that of the 10 nearest by whole vectors."""

    code: str
    numbers: int
    bytes: int
    score: Score
    recall: float | None
    seconds: float


class _Search(NamedTuple):
    """One code: its name in the table, the vectors it is made of, and its searcher."""

    name: str
    sides: tuple[Embeddings, Embeddings]
    searcher: Any


def check_table(out: PathLike | None, force: bool, inputs: Sequence[PathLike]) -> None:
    """Check that the table can be written.

    Raises:
        UsageError: the suffix is none of a table, or a foreign file is there.
    """
    if out is None:
        return
    suffix = pathlib.Path(out).suffix
    if suffix not in (".csv", ".json"):
        raise UsageError(f"{out}: the table is written as .csv or .json, not {suffix!r}")
    kind = "figures" if suffix == ".json" else f"table {','.join(COLUMNS[:3])}"
    check_replaceable(out, kind, force, inputs)


def compare_codes(
    queries: PathLike, gallery: PathLike, truth: PathLike, wanted: Wanted, out: PathLike | None
) -> str:
    """Search with every code, and put its bytes beside its score.

    Args:
        queries, gallery: embeddings.
        truth: see `read_truth`.
        wanted: codes, lengths and metric.
        out: also write the table there.

    Returns:
        the table as text.

    Raises:
        UsageError, DataError, ArtefactError: as for a search and its scoring; and where a length is
            none.
    """
    searched = read_side(gallery)
    asked = searched if queries == gallery else read_side(queries)
    lengths = _check_dims(wanted.dims, searched.dim)
    exact = build(f"exact(k={max(wanted.k, RECALL_AT)})", SEARCHERS)(asked, searched)
    known = read_truth(truth, exact)
    total = sum(len(list(_calls(wanted, dim))) for dim in lengths)
    rows = [
        _try_code(one, known, wanted.metric, exact.indices)
        for one in progress(_list_searches(asked, searched, wanted, lengths), "codes", total)
    ]
    if out is not None:
        _write(rows, str(gallery), out)
    return "\n".join([_lay_out(rows), *_say_left_out(wanted)])


def _check_dims(dims: Sequence[int], own: int) -> list[int]:
    wrong = [dim for dim in dims if not 0 < dim <= own]
    if wrong:
        raise UsageError(f"--dims {wrong[0]}: the vectors have {own} numbers")
    return [own, *(dim for dim in dims if dim != own)]


def _calls(wanted: Wanted, dim: int) -> Iterator[str]:
    """The searches of a length."""
    usual = [*USUAL, *(OF_FAISS if _has_faiss() else ())]
    for call in wanted.searches or usual:
        yield call.replace("{k}", str(wanted.k)).replace("{eighth}", str(max(1, dim // 8)))


def _has_faiss() -> bool:
    return importlib.util.find_spec("faiss") is not None


def _list_searches(
    queries: Embeddings, gallery: Embeddings, wanted: Wanted, lengths: Sequence[int]
) -> Iterator[_Search]:
    """Every search; vectors are shortened once a length."""
    for dim in lengths:
        sides, before = (queries, gallery), ""
        if dim != gallery.dim:
            shorten = SHORTEN[wanted.shorten].format(dim=dim)
            sides, before = build(shorten, ENHANCERS)(queries, gallery), f"{shorten}, "
        for call in _calls(wanted, dim):
            yield _Search(f"{before}{call}", sides, build(call, SEARCHERS))


def _try_code(one: _Search, truth: GroundTruth, metric: str, exact: np.ndarray) -> CodeRow:
    """Search by one code; `exact` [Q, K] are the nearest rows by whole vectors."""
    searcher, dim = one.searcher, one.sides[1].dim
    start = time.process_time()
    ranking = searcher(*one.sides)
    seconds = time.process_time() - start
    (score,) = evaluate(ranking, truth, [metric])[:1]
    size = searcher.code_bytes(dim) if isinstance(searcher, StoresCodes) else 0
    nearest = ranking.indices[:, :RECALL_AT]
    right = exact[:, : nearest.shape[1]]
    recall = share_found(nearest, right) if right.size else None
    return CodeRow(one.name, dim, size, score, recall, seconds)


def _cells(row: CodeRow) -> dict[str, Any]:
    span = (None, None) if row.score.per_query is None else interval(row.score.per_query)
    return {
        "code": row.code,
        "numbers": row.numbers,
        "bytes": row.bytes or None,
        "metric": row.score.name,
        "value": float(row.score.value),
        "low": span[0],
        "high": span[1],
        "recall": row.recall,
        "seconds": round(row.seconds, 3),
    }


def _write(rows: Sequence[CodeRow], gallery: str, out: PathLike) -> None:
    cells = [_cells(row) for row in rows]
    if pathlib.Path(out).suffix == ".json":
        write_json(out, {"codes_of": gallery, "rows": cells})
        return
    lines = [["" if cell is None else cell for cell in one.values()] for one in cells]
    csv_rows.write(out, COLUMNS, lines)


def _lay_out(rows: Sequence[CodeRow]) -> str:
    metric = rows[0].score.name
    table = [["code", "bytes an image", metric, "95 % interval", f"recall@{RECALL_AT}", "CPU s"]]
    for row in rows:
        made = _cells(row)
        span = "-" if made["low"] is None else f"{made['low']:.4f}-{made['high']:.4f}"
        recall = "-" if row.recall is None else f"{row.recall:.3f}"
        size = f"{row.bytes:,}" if row.bytes else "-"
        table.append([row.code, size, f"{made['value']:.4f}", span, recall, f"{row.seconds:.2f}"])
    return align_columns(table, left=(0, 3))


def _say_left_out(wanted: Wanted) -> list[str]:
    if wanted.searches or _has_faiss():
        return []
    return ["", "codes of faiss are left out: pip install faiss-cpu"]
