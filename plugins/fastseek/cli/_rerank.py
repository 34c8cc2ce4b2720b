"""A ranking that was saved, re-ranked."""

from __future__ import annotations

from collections.abc import Sequence

from ..io.paths import PathLike
from ..registry import RERANKERS, build
from ..structures import Ranking
from ._outputs import NOTHING, Beside, check_ranking_suffix, describe_ranking, save_ranking
from ._search import check_outputs, read_queries, read_side


def rerank_files(
    ranking: PathLike,
    queries: PathLike,
    gallery: PathLike,
    out: PathLike,
    calls: Sequence[str],
    beside: Beside = NOTHING,
) -> str:
    """Read a ranking and its two sides, re-rank, and write the last ranking.

    Args:
        ranking: the .npz file.
        queries, gallery: the embeddings it was searched with, as `fastseek search` takes them.
        out: the new ranking, in the form its suffix says, see `save_ranking`.
        calls: call strings of RERANKERS, in order.
        beside: labels for a ranking that is a table, images for one that is a page.

    Returns:
        one line that tells what was done.

    Raises:
        UsageError: a call string is wrong, or `out` cannot be written or is an input; told before
            any work is done.
        ArtefactError: ranking and embeddings do not belong together, or a file was changed.
        DataError: a file cannot be read, or a vector cannot be used.
    """
    parts = [build(call, RERANKERS) for call in calls]
    check_ranking_suffix(out, beside)
    check_outputs(parts, out, [ranking, queries, gallery, beside.labels])
    better = Ranking.load(ranking)
    searched = read_side(gallery)
    asked = read_queries(queries, searched, gallery)
    for part in parts:
        better = part(better, asked, searched)
    unknown = save_ranking(better, out, beside)
    return f"{describe_ranking(better, out)}{unknown}"
