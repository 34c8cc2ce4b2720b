"""What `fastseek bench` prints."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

import numpy as np

from ..inference.benchmark.published import published_figures, published_table
from ..inference.benchmark.run import EMBEDDINGS, RESULTS, BenchRequest, run_benchmark
from ..inference.embed_parts.part_choice import choose_part
from ..io.file_kinds import check_replaceable
from ..io.text_table import align_columns
from ..structures import Score, interval
from ._outputs import check_folder
from ._score import protocol_lines


def bench_lines(request: BenchRequest, part: str = "", threads: int = 0) -> list[str]:
    """Run a benchmark; the table of its figures, its protocol, and what others have published.

    Args:
        request: what is asked for.
        part: i/n of the shards to embed, "" for this process's own.
        threads: that read images; 0 chooses.

    Raises:
        FastSeekError: as `run_benchmark`; UsageError also for an `out` that holds something else.
    """
    out = pathlib.Path(request.out)
    check_replaceable(out / RESULTS, "results", False)
    check_folder(out / EMBEDDINGS)
    done = run_benchmark(request, choose_part(part), threads)
    if done.waiting:
        return [done.waiting]
    rows = [["task", "metric", "value", "95 % interval", "queries"]]
    for heading, scores in done.rows:
        rows += [_cells(heading, score) for score in scores]
    lines = [align_columns(rows, left=(0, 1, 3))]
    for one in _distinct(done.rows):
        lines += protocol_lines(one)
    table = published_table(published_figures(done.name))
    return [*lines, *(["", table] if table else []), "", f"results: {out / RESULTS}"]


def _cells(heading: str, score: Score) -> list[str]:
    span = "-"
    if score.per_query is not None:
        span = "{:.4f}-{:.4f}".format(*interval(score.per_query))
    elif "spread" in score.protocol:
        span = f"± {score.protocol['spread']:.4f} between tasks"
    counted = score.protocol.get("counted", "")
    left_out = score.protocol.get("skipped", 0)
    told = f"{counted} ({left_out} without answer)" if left_out else f"{counted}"
    value = "-" if np.isnan(score.value) else f"{score.value:.4f}"
    return [heading, score.name, value, span, told]


def _distinct(rows: Sequence[tuple[str, Sequence[Score]]]) -> list[Sequence[Score]]:
    """The scores of one row of every task; of random splits, which differ in nothing, of one."""
    seen: dict[str, Sequence[Score]] = {}
    for _, scores in rows:
        protocol = scores[0].protocol
        if "queries" in protocol and "spread" not in protocol:
            seen.setdefault(str(protocol.get("definition", "")), scores)
    return list(seen.values())
