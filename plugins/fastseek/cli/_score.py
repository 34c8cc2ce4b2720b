"""Scores for people and for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from ..io.atomic import check_writable
from ..io.json_files import write_json
from ..io.paths import PathLike
from ..io.text_table import align_columns
from ..metrics._evaluate import evaluate
from ..structures import Score, describe_protocol, interval
from ..structures.ground_truth_file import read_truth
from ._rankings import load_ranking


def score_file(
    ranking: PathLike,
    truth: PathLike,
    calls: Sequence[str],
    to: PathLike | None = None,
    gallery: PathLike | None = None,
) -> str:
    """Score a ranking file.

    Args:
        ranking: an .npz ranking.
        truth: an .npz truth or a CSV file, as `read_truth` takes it.
        calls: call strings of METRICS.
        to: also write one JSON object to this file, see `describe_score`.
        gallery: the embeddings that were searched, see `load_ranking`.

    Returns:
        a table with 95 % intervals, and how the figures came about; with to="-" the JSON object
        instead.

    Raises:
        DataError, ArtefactError, UsageError: as `read_truth` and `evaluate`; UsageError also for a
            `to` that cannot be written or is an input.
    """
    check_told(to, [ranking, truth, gallery])
    loaded = load_ranking(ranking, gallery)
    return describe_score(evaluate(loaded, read_truth(truth, loaded), calls), to)


def describe_score(scores: Sequence[Score], to: PathLike | None = None) -> str:
    """The text table of scores and their protocol; with to="-" one JSON object instead, with to=FILE
    that is written to the file also.

    The object holds metric name -> value, and "protocol": metric name -> how it came about.
    """
    page: dict[str, Any] = {score.name: score.value for score in scores}
    page["protocol"] = {score.name: dict(score.protocol) for score in scores}
    if to == "-":
        return json.dumps(page, indent=1)
    if to is not None:
        write_json(to, page)
    return "\n".join([text_table(scores), *protocol_lines(scores)])


def protocol_lines(scores: Sequence[Score]) -> list[str]:
    """How the scores came about; what is not true of all names those that it is true of."""
    owners: dict[str, list[str]] = {}
    for score in scores:
        for line in describe_protocol(score.protocol):
            owners.setdefault(line, []).append(score.name)
    lines = [
        line if len(names) == len(scores) else f"{', '.join(names)}: {line}"
        for line, names in owners.items()
    ]
    return ["", *lines] if lines else []


def check_told(to: PathLike | None, inputs: Iterable[PathLike | None]) -> None:
    """Check that `told` can write to its file, if there is one.

    Raises:
        UsageError: it cannot be written or is an input.
    """
    if to not in (None, "-"):
        check_writable(to, inputs)


def text_table(scores: Sequence[Score]) -> str:
    """One line a score: value, bootstrap interval over the queries where it is a mean, and what was
    counted.
    """
    rows = [["metric", "value", "95 % interval", "queries"]]
    for score in scores:
        span = "-"
        if score.per_query is not None:
            span = "{:.4f}-{:.4f}".format(*interval(score.per_query))
        counted = str(score.protocol.get("counted", ""))
        left_out = score.protocol.get("skipped", score.protocol.get("without_answer", 0))
        if left_out:
            counted += f" ({left_out} without answer)"
        rows.append([score.name, f"{score.value:.4f}", span, counted])
    return align_columns(rows, left=(0, 2, 3))
