"""A benchmark from its images to results.json and a page."""

from __future__ import annotations

import dataclasses
import pathlib
import time
from collections.abc import Sequence
from typing import Any

from ...io.code_version import current_commit
from ...io.paths import PathLike
from ...protocols import tasks_of
from ...report import PageLayout, page
from ...report.results import row, write_results
from ...report.thumbnails import ImageSources
from ...structures import Embeddings, Item, Ranking, Score, Task
from ...structures.identity import unique_items
from ...structures.item_table import join_items
from ...structures.job_part import ALL, JobPart
from ..embed_parts.part_choice import describe_part
from ..pretrained import load_model
from ..pretrained.embed import embed_part
from ..pretrained.options import ModelOptions
from .averages import average
from .open_data import Opened, open_benchmark
from .published import WORDS, published_figures
from .ranking import Calls, score_task

EMBEDDINGS = "embeddings"
RESULTS = "results.json"


@dataclasses.dataclass(frozen=True)
class BenchRequest:
    """A benchmark, a model, and how it is searched.

    Args:
        name: a member of DATASETS or a folder, see `open_benchmark`.
        model: by name, see `load_model`.
        out: the folder of embeddings, results.json and pages; the same request again goes on.
        root: the folder of the benchmark, where the call string tells none.
        calls: how it is searched.
        how: how the model is run.
        protocol: a call string of PROTOCOLS that is used instead of the benchmark's own.
    """

    name: str
    model: str
    out: str
    root: PathLike | None = None
    calls: Calls = dataclasses.field(default_factory=Calls)
    how: ModelOptions = dataclasses.field(default_factory=ModelOptions)
    protocol: str = ""


@dataclasses.dataclass(frozen=True, eq=False)
class BenchResult:
    """What a benchmark gave.

    Args:
        name: of the benchmark's part.
        rows: heading and scores of every task, then of the averages over tasks.
        waiting: what there is to tell where other parts of the embedding are not ready; no rows then.
    """

    name: str
    rows: tuple[tuple[str, tuple[Score, ...]], ...] = ()
    waiting: str = ""


def run_benchmark(request: BenchRequest, part: JobPart = ALL, threads: int = 0) -> BenchResult:
    """Embed, search and score a benchmark, and write what came of it.

    Args:
        request: what is asked for.
        part: which shards are embedded here; whoever finds all of them scores.
        threads: that read images; 0 chooses.

    Raises:
        FastSeekError: the benchmark is not here, or the model, or its images cannot be scored.
    """
    found = open_benchmark(request.name, request.root)
    tasks = tasks_of(found.data, request.protocol)
    for task in tasks:  # a wrong call string is told before the work
        request.calls.build(task.depth)
    items = images_of_tasks(tasks, found.call)
    out = pathlib.Path(request.out)
    root = str(getattr(found.data, "root", ""))
    model = load_model(request.model, request.how)
    embeddings = embed_part(model, items, root, out / EMBEDDINGS, threads, part=part)
    if embeddings is None:
        return BenchResult(found.name, waiting=describe_part(str(out / EMBEDDINGS), part))
    return _score(found, tasks, embeddings, request)


def images_of_tasks(tasks: Sequence[Task], source: str) -> Sequence[Item]:
    """The images of all sides, each once; a list is in the order of the ids, whichever side an image
    is on, so that another protocol over the same images takes the same embeddings.

    Raises:
        DataError: one id names two files.
    """
    sides = {id(side): side for task in tasks for side in (task.gallery, task.queries)}
    items = unique_items(join_items(list(sides.values())), source)
    return sorted(items, key=lambda item: item.id) if isinstance(items, list) else items


def _score(
    found: Opened, tasks: Sequence[Task], embeddings: Embeddings, request: BenchRequest
) -> BenchResult:
    out = pathlib.Path(request.out)
    rows: list[tuple[str, list[Score]]] = []
    lines: list[dict[str, Any]] = []
    for task in tasks:
        start = time.monotonic()
        scored = score_task(task, embeddings, request.calls)
        rows.append((task.name or found.name, scored.scores))
        lines.append(row(rows[-1][0], scored.scores, time.monotonic() - start))
        # Of random splits the first stands for all.
        if scored.ranking is not None and (not task.averages or task is tasks[0]):
            _keep(task, scored.ranking, scored.scores, out, found.name)
    for heading, scores in average(tasks, [scores for _, scores in rows]):
        rows.append((heading, scores))
        lines.append(row(heading, scores))
    told = _describe(found, tasks, embeddings, request)
    write_results(out / RESULTS, lines, current_commit(), 0, told)
    return BenchResult(found.name, tuple((heading, tuple(scores)) for heading, scores in rows))


def _describe(
    found: Opened, tasks: Sequence[Task], embeddings: Embeddings, request: BenchRequest
) -> dict[str, Any]:
    calls = request.calls
    known = {
        key: embeddings.provenance[key] for key in ("name", "model") if key in embeddings.provenance
    }
    figures = [one._asdict() for one in published_figures(found.name)]
    protocol = tasks[0].truth.protocol
    return {
        "benchmark": found.call,
        "protocol": {key: protocol[key] for key in ("protocol", "definition") if key in protocol},
        "model": {**known, "asked": request.model},
        "search": {"search": calls.search, "enhance": calls.enhance, "rerank": calls.rerank},
        "published": {"what": WORDS, "figures": figures},
    }


def _keep(
    task: Task, ranking: Ranking, scores: Sequence[Score], out: pathlib.Path, name: str
) -> None:
    """Write ranking, truth and page of a task."""
    end = f"-{task.name}" if task.name else ""
    ranking.save(out / f"ranking{end}.npz", force=True)
    task.truth.save(out / f"truth{end}.npz")
    sides = [{item.id: item.path for item in side} for side in (task.queries, task.gallery)]
    title = f"{name} {task.name}".strip()
    layout = PageLayout(f"{title}, {task.protocol}")
    page(ranking, task.truth, scores, ImageSources(*sides), out / f"report{end}.html", layout)
