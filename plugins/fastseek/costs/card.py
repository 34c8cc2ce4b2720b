"""The cost card: what embedding, keeping and searching a number of images takes, and what breaks
first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from ..errors import UsageError
from .engines import ENGINES, SHARE, describe_engine
from .growth import Law, Measured, find_byte_law, find_time_law

LETTERS = 28  # of an id, as the measured ones have
DAY, WEEK = 86_400.0, 604_800.0
MOST_FILES = 1_000_000  # in one folder, before listing it takes minutes
PLACES = 1 << 32  # images whose order by id 32 bits number
GIGABYTE = 1e9
BEYOND = 1e13  # images, of which nobody has so many


class Job(NamedTuple):
    """What is asked.

    Args:
        images: how many.
        dim: numbers of a vector.
        rate: images a second that one process embeds.
        processes: on each machine.
        machines: that embed at the same time.
        ram: bytes of memory of a machine.
        bytes_per_image: of an image file; 0 where it is not known.
    """

    images: int
    dim: int
    rate: float
    processes: int = 1
    machines: int = 1
    ram: float = 16e9
    bytes_per_image: float = 0.0


class Limit(NamedTuple):
    """Something that breaks: what, from how many images on, and what helps."""

    what: str
    images: float
    remedy: str


def make_card(job: Job, runs: Sequence[Measured]) -> dict[str, Any]:
    """The cost card as JSON values; bytes and seconds unless a name says otherwise.

    Args:
        job: what is asked.
        runs: measured figures, as `load_growth` reads them.

    Returns:
        "job", "embedding", "disk", "engines", "choice", "breaks" (the nearest first) and
        "assumptions".

    Raises:
        UsageError: a number makes no sense.
    """
    _check(job)
    engines = [describe_engine(engine, job.images, job.dim, job.ram, runs) for engine in ENGINES]
    choice = choose_engine(engines)
    limits = _find_limits(job, runs)
    return {
        "job": job._asdict(),
        "embedding": _embedding(job),
        "disk": _disk(job, runs),
        "engines": engines,
        "choice": choice,
        "breaks": [
            {**limit._asdict(), "reached": limit.images <= job.images}
            for limit in sorted(limits, key=lambda limit: limit.images)
            if limit.images < BEYOND
        ],
        "assumptions": _assumptions(job, engines, runs),
    }


def choose_engine(engines: Sequence[dict[str, Any]]) -> dict[str, str]:
    """The first engine that fits, by name, with a sentence that tells why.

    Args:
        engines: as `describe_engine` gives them, the simplest first.
    """
    for engine in engines:
        if engine["fits"]:
            return {"engine": engine["engine"], "why": engine["why"]}
    known = [engine for engine in engines if engine["machines"] is not None]
    if not known:
        return {"engine": "none", "why": "no engine was measured"}
    least = min(known, key=lambda engine: engine["machines"])
    return {
        "engine": f"{least['engine']} on {least['machines']} machines",
        "why": "no engine fits one machine; this one takes the fewest, each with its part of the gallery",
    }


def _check(job: Job) -> None:
    for name, value in job._asdict().items():
        least = 0 if name == "bytes_per_image" else 1e-9
        if not (math.isfinite(value) and value >= least):
            raise UsageError(f"--{name.replace('_', '-')} must be above 0, got {value}")


def _embedding(job: Job) -> dict[str, Any]:
    seconds = job.images / (job.rate * job.processes * job.machines)
    read = job.images * job.bytes_per_image or None
    return {
        "seconds": seconds,
        "hours": seconds / 3600,
        "images a second": job.rate * job.processes * job.machines,
        "bytes read": read,
        "bytes read a second": read / seconds if read else None,
    }


def _disk(job: Job, runs: Sequence[Measured]) -> dict[str, Any]:
    """Bytes and files of an embeddings folder."""
    vectors = 4.0 * job.images * job.dim
    whole = find_byte_law(runs, "folder", "bytes", job.dim)
    files = _find_file_law(runs, job.dim)
    total = whole.at(job.images) if whole else None
    return {
        "vectors": vectors,
        "ids and pages": total - vectors if total else None,
        "embeddings folder": total,
        "files": math.ceil(files.at(job.images)) if files else None,
        "vectors as float16": vectors / 2,
    }


def _find_file_law(runs: Sequence[Measured], dim: int) -> Law | None:
    """How the files of a folder grow: shards are cut by their bytes."""
    known = [run for run in runs if run.engine == "folder" and "files" in run.figures]
    if not known:
        return None
    largest = max(known, key=lambda run: run.images * run.dim)
    each = largest.figures["files"] / (largest.images * largest.dim)
    return Law(each * dim, 1.0, (largest.images,), (largest.source,))


def _find_limits(job: Job, runs: Sequence[Measured]) -> list[Limit]:
    speed = job.rate * job.processes * job.machines
    limits = [
        Limit(
            "embedding takes more than a week",
            speed * WEEK,
            "more processes or machines: fastseek embed --part i/n",
        ),
        Limit("places of ids outgrow 32 bits", PLACES, "search in parts: sharded(rows=1000000000)"),
    ]
    files = _find_file_law(runs, job.dim)
    if files:
        limits.append(
            Limit("a folder of a million files", files.reach(MOST_FILES), "larger shards")
        )
    for engine in ENGINES:
        law = engine.ram_law(runs, job.dim)
        if law is not None:
            limits.append(
                Limit(
                    f"{engine.name} outgrows the memory of a machine",
                    law.reach(SHARE * job.ram),
                    engine.beyond,
                )
            )
    seconds = find_time_law(runs, "k_reciprocal", "cpu s", job.dim)
    if seconds:
        limits.append(
            Limit(
                "k-reciprocal re-ranking of the whole gallery takes more than a CPU day",
                seconds.reach(DAY),
                "k_reciprocal_query, which looks at the query's side only",
            )
        )
    memory = find_byte_law(runs, "k_reciprocal", "bytes", job.dim)
    if memory:
        limits.append(
            Limit(
                "k-reciprocal re-ranking outgrows the memory of a machine",
                memory.reach(SHARE * job.ram),
                "k_reciprocal_query, or k_reciprocal(max_ram=…)",
            )
        )
    return limits


def _assumptions(
    job: Job, engines: Sequence[dict[str, Any]], runs: Sequence[Measured]
) -> list[str]:
    largest = {
        name: max(run.images for run in runs if run.engine == name)
        for name in dict.fromkeys(run.engine for run in runs)
    }
    told = ", ".join(f"{name} {size:,}" for name, size in sorted(largest.items()))
    lines = [
        f"{job.rate:g} images a second a process, the same for all {job.processes * job.machines}"
        " processes; images are read as fast as they are embedded",
        f"vectors of {job.dim} float32 numbers, ids of {LETTERS} letters",
        "seconds grow as a power of the number of images through the measured sizes, and in"
        " proportion to the width of the vectors; bytes in proportion to the number of images;"
        " what a query takes because it is asked alone does not grow",
        f"the largest sizes that were measured: {told}",
        "no building grows slower than the number of images, a scan neither; a query over lists grows"
        " with its square root at least, one through a graph is taken to grow with the fourth root at"
        " most. Mapped lists were measured in the memory that files are"
        " cached in: a cold disk adds the time of its reads",
        "powers: "
        + ", ".join(
            f"{engine['engine']} build {engine['powers'][0]:.2f}, query {engine['powers'][1]:.2f}"
            for engine in engines
            if None not in engine["powers"]
        ),
        "recall is that of the measured size; real images are harder or easier than made-up ones,"
        " so measure it on yours: a search of an approximate engine tells it",
        f"an engine may fill {SHARE:.0%} of {job.ram / GIGABYTE:.0f} GB",
    ]
    if not job.bytes_per_image:
        lines.append("the bytes of the image files were not given (--bytes-per-image)")
    return lines
