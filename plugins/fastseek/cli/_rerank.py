"""A ranking that was saved, re-ranked."""

from __future__ import annotations

from collections.abc import Sequence

from ..io.paths import PathLike
from ..registry import RERANKERS, build
from ..structures import Embeddings, Ranking
from ._search import check_outputs, read_side


def rerank_files(
    ranking: PathLike,
    queries: PathLike,
    gallery: PathLike,
    out: PathLike,
    calls: Sequence[str],
) -> str:
    """Read a ranking and its two sides, re-rank, and write the last ranking as an .npz file.

    Args:
        ranking: the .npz file.
        queries, gallery: the embeddings it was searched with, as `fastseek search` takes them.
        out: the new .npz file.
        calls: call strings of RERANKERS, in order.

    Returns:
        one line that tells what was done.

    Raises:
        UsageError: a call string is wrong, or `out` cannot be written or is an input; told before
            any work is done.
        ArtefactError: ranking and embeddings do not belong together, or a file was changed.
        DataError: a file cannot be read, or a vector cannot be used.
    """
    parts = [build(call, RERANKERS) for call in calls]
    check_outputs(parts, out, [ranking, queries, gallery])
    better = Ranking.load(ranking)
    sides: list[Embeddings] = [read_side(path) for path in (queries, gallery)]
    for part in parts:
        better = part(better, *sides)
    better.save(out)
    count, depth = better.indices.shape
    return f"{count} queries, {depth} of {len(better.gallery_ids)} images each: {out}"
