"""Two rankings of the same queries: which is better, how surely, and what got worse."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import UsageError
from ..io.json_files import write_json
from ..io.paths import PathLike
from ..io.text_table import align_columns
from ..metrics import evaluate
from ..metrics._align import align
from ..metrics._paired import SAME, gain
from ..report import PageLayout, page, row
from ..structures import GroundTruth, Ranking, Score
from ..structures.ground_truth_file import read_truth
from ._rankings import load_ranking
from ._score import check_told


@dataclasses.dataclass(frozen=True, eq=False)
class Comparison:
    """One metric of two rankings A and B, query by query.

    Args:
        name: the metric.
        a, b: its values.
        span: 95 % bootstrap interval of b - a over the queries.
        wins, losses, ties: queries in which B is above A, below it, alike.
        worse: (query id, value in A, value in B) of the losses, the largest loss first, equal ones
            by id.
        scores: the two scores.
    """

    name: str
    a: float
    b: float
    span: tuple[float, float]
    wins: int
    losses: int
    ties: int
    worse: tuple[tuple[str, float, float], ...]
    scores: tuple[Score, Score]


def compare(
    a: Ranking, b: Ranking, truth: GroundTruth, calls: Sequence[str], seed: int = 0
) -> list[Comparison]:
    """Compare two rankings over the same queries, pair by pair.

    Args:
        a, b: rankings of the truth's queries and gallery, in any order.
        truth: what is relevant.
        calls: call strings of metrics that are means over queries.
        seed: of the bootstrap.

    Raises:
        UsageError: a metric is no mean over queries, or none is given.
        ArtefactError, DataError: as for `evaluate`.
    """
    pairs = zip(evaluate(a, truth, calls), evaluate(b, truth, calls), strict=True)
    made = [
        _compare_queries(*pair, truth.query_ids, seed)
        for pair in pairs
        if pair[0].per_query is not None
    ]
    if not made:
        raise UsageError(
            f"{', '.join(calls)} is no mean over queries, so queries cannot be compared: take"
            " another metric, such as map(100)"
        )
    return made


def compare_files(
    a: PathLike,
    b: PathLike,
    truth: PathLike,
    calls: Sequence[str],
    to: PathLike | None = None,
    out: PathLike | None = None,
    images: Sequence[str] = (),
    gallery: PathLike | None = None,
) -> str:
    """Compare two ranking files.

    Args:
        a, b: .npz rankings.
        truth: an .npz truth or a CSV file: id,label[,split,group].
        calls: call strings of metrics that are means over queries.
        to: also write the figures as JSON to this file; "-" returns them instead of the table.
        out: also write a page of B, its queries in the order of what got worse by the first metric.
        images: folders the images' ids are relative to.
        gallery: the embeddings that both were searched in, see `load_ranking`.

    Raises:
        UsageError, ArtefactError, DataError: as for `compare`; UsageError also for a file that
            cannot be written or is an input.
    """
    for path in (to, out):
        check_told(path, [a, b, truth, gallery])
    before, after = load_ranking(a, gallery), load_ranking(b, gallery)
    known = read_truth(truth, before)
    found = compare(before, after, known, calls)
    if out is not None:
        _write_page(align(after, known), known, found, out, [str(path) for path in images])
    figures = {one.name: _figures(one) for one in found}
    if to == "-":
        return json.dumps(figures, indent=1)
    if to is not None:
        write_json(to, figures)
    return text(found)


def text(found: Sequence[Comparison], listed: int = 10) -> str:
    """A table of the comparisons, and the queries that got worse by the first one."""
    rows = [["metric", "A", "B", "B - A", "95 % interval", "wins", "losses", "ties"]]
    for one in found:
        figures = [f"{one.a:.4f}", f"{one.b:.4f}", f"{one.b - one.a:+.4f}"]
        interval = f"{one.span[0]:+.4f} {one.span[1]:+.4f}"
        rows.append([one.name, *figures, interval, *map(str, (one.wins, one.losses, one.ties))])
    lines = [align_columns(rows, left=(0, 4))]
    first = found[0]
    if first.worse:
        lines.append(
            f"worse in B by {first.name}, {min(listed, len(first.worse))} of {len(first.worse)}:"
        )
    lines += [
        f"  {query}  {before:.4f} -> {after:.4f}" for query, before, after in first.worse[:listed]
    ]
    return "\n".join(lines)


def _compare_queries(a: Score, b: Score, query_ids: np.ndarray, seed: int) -> Comparison:
    found = gain(a, b, seed)
    before, after = np.asarray(a.per_query), np.asarray(b.per_query)
    change = after - before
    rows = np.flatnonzero(change < -SAME)
    rows = rows[np.lexsort((query_ids[rows], change[rows]))]
    worse = tuple((str(query_ids[row]), float(before[row]), float(after[row])) for row in rows)
    # One query has no interval; its own difference stands for it.
    span = found.span or (found.value, found.value)
    return Comparison(
        a.name,
        a.value,
        b.value,
        span,
        found.wins,
        found.losses,
        found.ties,
        worse,
        (a, b),
    )


def _figures(one: Comparison) -> dict[str, Any]:
    worse = [{"query": query, "a": before, "b": after} for query, before, after in one.worse]
    return {
        "a": one.a,
        "b": one.b,
        "difference": one.b - one.a,
        "interval": list(one.span),
        "wins": one.wins,
        "losses": one.losses,
        "ties": one.ties,
        "worse": worse,
        "protocol": dict(one.scores[0].protocol),
    }


def _write_page(
    ranking: Ranking,
    truth: GroundTruth,
    found: Sequence[Comparison],
    out: PathLike,
    images: Sequence[str],
) -> None:
    """The page of B: first the queries that got worse, by their value in B."""
    before, after = found[0].scores
    old, new = np.asarray(before.per_query), np.asarray(after.per_query)
    values = np.where(new < old - SAME, new, np.nan)
    order = Score(f"{after.name} where it got worse", after.value, values, after.protocol)
    steps = [row(name, [one.scores[side] for one in found]) for side, name in enumerate(("A", "B"))]
    page(
        ranking,
        truth,
        [one.scores[1] for one in found],
        images,
        out,
        PageLayout(
            title="What got worse from A to B",
            steps=steps,
            order=order if found[0].losses else None,
        ),
    )
