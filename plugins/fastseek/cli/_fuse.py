"""Ranking files to one, with weights given or tuned."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence

import numpy as np

from ..errors import UsageError
from ..fuse._linear import Linear
from ..fuse._tune import Scorer, Tuning, tune
from ..io.atomic import check_writable
from ..io.paths import PathLike
from ..metrics import evaluate
from ..registry import FUSERS, build
from ..structures import GroundTruth, Ranking
from ..structures.ground_truth_file import read_truth
from ._outputs import NOTHING, Beside, check_ranking_suffix, save_ranking


def fuse_files(
    rankings: Sequence[PathLike],
    call: str,
    out: PathLike,
    metric: str | None = None,
    truth: PathLike | None = None,
    seed: int = 0,
    beside: Beside = NOTHING,
) -> str:
    """Fuse ranking files into one.

    Args:
        rankings: .npz rankings of the same queries.
        call: call string of FUSERS.
        out: the fused ranking, in the form its suffix says, see `save_ranking`.
        metric: tune the members' weights by this metric, which must be a mean over queries.
        truth: what it is tuned by, an .npz truth or a CSV file: id,label[,split,group].
        seed: of the tuning.
        beside: labels for a ranking that is a table, images for one that is a page.

    Returns:
        what was done, in a line or two.

    Raises:
        UsageError: the call is wrong, only one of metric and truth is given, or `out` cannot be
            written or is an input.
        ArtefactError, DataError: a member cannot be used; names its file.
    """
    if (metric is None) != (truth is None):
        raise UsageError("tuning needs both a metric and the truth: give --tune and --truth")
    check_ranking_suffix(out, beside)
    check_writable(out, [*rankings, truth, beside.labels])
    fuser = build(call, FUSERS)
    if metric is not None and not isinstance(fuser, Linear):
        raise UsageError(f"{call} has no weights to tune: take another fuser, or leave out --tune")
    members, names = [Ranking.load(path) for path in rankings], [str(path) for path in rankings]
    lines, tuned = [], None
    if metric is not None and truth is not None and isinstance(fuser, Linear):
        known = read_truth(truth, members[0])
        tuned = tune(members, fuser, scorer(known, metric), seed=seed, names=names)
        fuser = fuser.reweigh(tuned.weights)
        lines.append(_describe(tuned, metric))
    fused = fuser(members, names)
    if tuned is not None:
        provenance = {
            **fused.provenance,
            "tuned": {
                "metric": metric,
                "truth": known.fingerprint(),
                "seed": seed,
                **_figures(tuned),
            },
        }
        fused = dataclasses.replace(fused, provenance=provenance)
    unknown = save_ranking(fused, out, beside)
    count, depth = fused.indices.shape
    told = f"{len(members)} rankings of {count} queries, {depth} images each: {out}{unknown}"
    return "\n".join([*lines, told])


def scorer(truth: GroundTruth, metric: str) -> Scorer:
    """What `tune` is to call: the values of a metric for a ranking of some of the truth's queries.

    Raises:
        UsageError: when called, if the metric is no mean over queries.
    """
    rows = {name: row for row, name in enumerate(truth.query_ids.tolist())}
    parts: dict[tuple[str, ...], GroundTruth] = {}

    def score(ranking: Ranking) -> np.ndarray:
        asked = tuple(ranking.query_ids.tolist())
        if asked not in parts:
            parts[asked] = truth.subset([rows[name] for name in asked if name in rows])
        values = evaluate(ranking, parts[asked], [metric])[0].per_query
        if values is None:
            raise UsageError(
                f"{metric} is no mean over queries, so weights cannot be tuned by it: take"
                " map(100), say"
            )
        return values

    return score


def _figures(tuned: Tuning) -> dict[str, object]:
    return {
        "found": tuned.found,
        "better": tuned.better,
        "tuning": tuned.tuning,
        "held_out": tuned.held_out,
        "queries": tuned.queries,
    }


def _describe(tuned: Tuning, metric: str) -> str:
    figures = json.dumps({name: round(value, 4) for name, value in tuned.held_out.items()})
    chosen = "tuned weights" if tuned.better else "equal weights, as the tuned ones are not better"
    return (
        f"{chosen}: {', '.join(f'{weight:.3f}' for weight in tuned.weights)}; {metric} held out:"
        f" {figures}"
    )
