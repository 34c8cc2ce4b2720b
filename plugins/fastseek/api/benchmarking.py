"""Benchmarks from Python. Needs torch and timm, which are loaded by the first call."""

from __future__ import annotations

import os
from collections.abc import Sequence

from ..io.paths import PathLike
from ..structures import Score


def bench(
    name: str,
    out: PathLike,
    model: str = "default",
    root: PathLike | None = None,
    search: str = "exact()",
    rerank: Sequence[str] = (),
    protocol: str = "",
) -> dict[str, list[Score]]:
    """Embed, search and score a benchmark by its own protocol; `fastseek bench` as a function.

    Args:
        name: a data set, with its arguments or without, or a folder of a known layout.
        out: the folder of embeddings, results.json and pages; the same call again goes on.
        model: by name, as `load_model` takes it.
        root: the folder of the benchmark, where the call string tells none.
        search: call string of a searcher; without k it gets what the figures need.
        rerank: call strings of re-rankers.
        protocol: call string of a protocol, instead of the benchmark's own.

    Returns:
        the scores of every task by its name, then those of the averages over tasks.

    Raises:
        UsageError: nothing is called so. DataError: its files are not there, or cannot be scored.
    """
    from ..inference.benchmark.ranking import Calls  # they need torch
    from ..inference.benchmark.run import BenchRequest, run_benchmark

    calls = Calls(search, (), tuple(rerank))
    request = BenchRequest(name, model, os.fspath(out), root, calls, protocol=protocol)
    return {heading: list(scores) for heading, scores in run_benchmark(request).rows}
