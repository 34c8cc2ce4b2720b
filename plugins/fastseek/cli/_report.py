"""A ranking file, and the truth if there is one, to a page."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

from ..errors import DataError, UsageError
from ..io.atomic import check_writable
from ..io.json_files import read_json
from ..io.paths import PathLike
from ..metrics import evaluate, usual_metrics
from ..metrics._align import align
from ..report import NeighborsLayout, PageLayout, neighbors_page, page
from ..structures import GroundTruth, Ranking
from ..structures.ground_truth_file import read_truth
from ._outputs import say_images
from ._rankings import load_ranking
from ._shown_images import read_sources


class Shown(NamedTuple):
    """What stands on a page.

    Args:
        title: the heading.
        order: call string of the metric that orders the queries; the first map when not given.
        depth: answers shown for a query at most.
        queries: queries shown at most.
        links: whether an image that is clicked links to its file.
        gallery: the embeddings that were searched, see `load_ranking`.
    """

    title: str = ""
    order: str = ""
    depth: int = 10
    queries: int = 200
    links: bool = False
    gallery: PathLike | None = None


USUAL = Shown()


def show_files(
    ranking: PathLike,
    truth: PathLike | None,
    out: PathLike,
    images: Sequence[PathLike] = (),
    metrics: Sequence[str] = (),
    results: PathLike | None = None,
    shown: Shown = USUAL,
) -> str:
    """Read a ranking and what is relevant, score it, and write the page.

    Args:
        ranking: an .npz ranking.
        truth: an .npz truth or a CSV file, as `read_truth` takes it; None for a page without marks
            and figures.
        out: the page.
        images: folders the ids are relative to, or such as hold them; those that the ranking's
            provenance names choose among these and open no other. Also tar files, tables, addresses
            and call strings of data sets, whose ids are those of the ranking.
        metrics: call strings of METRICS; recall(1), map(k) for the depth of the lists (at most
            100), and gap() when none is given.
        results: a results.json whose rows are shown as steps.
        shown: the heading, and which queries and answers are shown.

    Returns:
        one line that tells what was done.

    Raises:
        DataError: a file is no ranking, truth or results.json, or no query has an answer.
        ArtefactError: ranking and truth do not fit, or a file is damaged. UsageError: a metric is
            not known or given without a truth, or `out` cannot be written or is an input.
    """
    check_writable(out, [ranking, truth, results])
    loaded = load_ranking(ranking, shown.gallery)
    if truth is None:
        _refuse_figures(metrics, results, shown)
        layout = NeighborsLayout(shown.title, shown.depth, shown.queries, links=shown.links)
        neighbors_page(loaded, read_sources(loaded, images), out, layout)
    else:
        _show_judged(loaded, read_truth(truth, loaded), out, images, metrics, results, shown)
    return f"page: {out}{say_images(loaded, images)}"


def _refuse_figures(metrics: Sequence[str], results: PathLike | None, shown: Shown) -> None:
    asked = {"--metrics": metrics, "--order": shown.order, "--results": results}
    for option, value in asked.items():
        if value:
            raise UsageError(f"{option} needs --truth: figures say how often an answer is right")


def _show_judged(
    loaded: Ranking,
    known: GroundTruth,
    out: PathLike,
    images: Sequence[PathLike],
    metrics: Sequence[str],
    results: PathLike | None,
    shown: Shown,
) -> None:
    calls = list(metrics) or usual_metrics(align(loaded, known), known)
    scores = evaluate(loaded, known, calls)
    ordering = evaluate(loaded, known, [shown.order])[0] if shown.order else None
    if ordering is not None and ordering.per_query is None:
        raise DataError(
            f"{shown.order} is no mean over queries, so it cannot order them: take map(10) or another"
        )
    steps = _steps(results) if results is not None else []
    page(
        align(loaded, known),
        known,
        scores,
        read_sources(loaded, images),
        out,
        PageLayout(shown.title, steps, shown.depth, shown.queries, ordering, shown.links),
    )


def _steps(results: PathLike) -> list[dict]:
    found = read_json(results)
    rows = found.get("rows") if isinstance(found, dict) else None
    if not isinstance(rows, list) or not all(map(_is_step, rows)):
        raise DataError(
            f'{results}: no results.json; expected {{"rows": [{{"name": …, "metrics": {{…}}}}]}}, '
            "metrics and seconds numbers"
        )
    return rows


def _is_step(row: Any) -> bool:
    if not isinstance(row, dict) or "name" not in row or not isinstance(row.get("metrics"), dict):
        return False
    seconds = row.get("seconds")
    figures = [*row["metrics"].values(), *([] if seconds is None else [seconds])]
    return all(isinstance(one, (int, float)) and abs(one) <= sys.float_info.max for one in figures)
