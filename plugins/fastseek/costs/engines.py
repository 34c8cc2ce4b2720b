"""What searches, and what each engine takes of a machine."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from .growth import CEILING, Law, Measured, find_byte_law, find_query_law, find_time_law

SHARE = 0.7  # of the memory that an engine may fill
PATIENCE = 0.5  # CPU seconds that one query may take
BUILD = 5 * 86_400.0  # CPU seconds that building may take
VECTORS, STRUCTURE, MAPPED, SERVER = "vectors", "structure", "mapped", "server"


class Engine(NamedTuple):
    """An engine.

    Args:
        name: as growth.json and the docs call it.
        call: how it is asked for.
        ram: what must lie in memory: "vectors", the "structure" beside them, little where that is
            "mapped" from the disk, or all of a "server".
        beyond: what helps where it does not fit any more.
        query_power: with what power of the number of images a query grows at least: a scan looks at
            all, lists at a share of them that shrinks as their number grows with the square root.
        query_most: with what power at most: the ways through a graph grow with the logarithm, and a
            growing share of them is read from memory that no cache holds.
    """

    name: str
    call: str
    ram: str
    beyond: str
    query_power: float = 0.0
    query_most: float = CEILING

    def ram_law(self, runs: Sequence[Measured], dim: int) -> Law | None:
        """How the bytes in memory grow; None where nothing was measured."""
        if self.ram == VECTORS:
            return Law(4.0 * dim, 1.0, (), ())
        if self.ram == MAPPED:
            return find_time_law(runs, self.name, "held bytes", dim, self.query_power)
        return find_byte_law(runs, self.name, "bytes", dim)

    def disk_law(self, runs: Sequence[Measured], dim: int) -> Law | None:
        """How the bytes on the disk grow, beside the vectors; None where nothing was measured."""
        if self.ram == VECTORS:
            return Law(0.0, 1.0, (), ())
        return find_byte_law(runs, self.name, "bytes", dim)


# The simplest first: the first that fits is advised.
ENGINES = (
    Engine("exact", "exact(k=100)", VECTORS, "quantized, or an approximate engine", 1.0),
    Engine(
        "hnsw",
        "fastseek index create --engine hnsw, or faiss_hnsw",
        STRUCTURE,
        "ivf_rabitq, whose lists stay on disk",
        query_most=0.25,
    ),
    Engine(
        "ivf_rabitq",
        "fastseek index create --engine ivf_rabitq, or faiss_ivf_rabitq",
        MAPPED,
        "Milvus on several machines",
        0.5,
    ),
    Engine(
        "pgvector", "fastseek index create postgresql://…", SERVER, "Milvus on several machines"
    ),
    Engine("milvus", "fastseek index create http://…:19530", SERVER, "more query nodes"),
)


def describe_engine(
    engine: Engine, images: int, dim: int, ram: float, runs: Sequence[Measured]
) -> dict[str, Any]:
    """What an engine takes for so many images, as JSON values; None where nothing was measured.

    Args:
        engine: which.
        images, dim: vectors and their width.
        ram: bytes of memory of a machine.
        runs: measured figures.
    """
    memory, disk = engine.ram_law(runs, dim), engine.disk_law(runs, dim)
    # Every image must be put in, so that no building grows slower than their number.
    build = find_time_law(runs, engine.name, "build cpu s", dim, 1.0)
    query = find_query_law(runs, engine.name, dim, engine.query_power, engine.query_most)
    needed = memory.at(images) if memory else None
    seconds = query.at(images) / 1e3 if query else None
    made = build.at(images) if build else (0.0 if engine.ram == VECTORS else None)
    recall = _recall(engine.name, runs)
    fits, why = _judge(needed, seconds, made, ram)
    measured = max((run.images for run in runs if run.engine == engine.name), default=0)
    return {
        "engine": engine.name,
        "call": engine.call,
        "ram": needed,
        "disk": disk.at(images) if disk else None,
        "build cpu s": made,
        "query cpu s": seconds,
        "recall": recall,
        "fits": fits,
        "why": why,
        "machines": _machines(needed, seconds, made, ram),
        "measured at": measured,
        "powers": [law.power if law else None for law in (build, query)],
    }


def _machines(
    needed: float | None, seconds: float | None, made: float | None, ram: float
) -> int | None:
    """How many machines hold, build and search it in parts."""
    if needed is None or seconds is None or made is None:
        return None
    return max(1, *map(math.ceil, (needed / (SHARE * ram), seconds / PATIENCE, made / BUILD)))


def _recall(name: str, runs: Sequence[Measured]) -> float | None:
    known = [run for run in runs if run.engine == name and "recall" in run.figures]
    return max(known, key=lambda run: run.images).figures["recall"] if known else None


def _judge(
    needed: float | None, seconds: float | None, made: float | None, ram: float
) -> tuple[bool, str]:
    """Whether an engine fits one machine, and the reason."""
    if needed is None or seconds is None or made is None:
        return False, "not measured"
    if needed > SHARE * ram:
        return False, f"needs {needed / 1e9:,.0f} GB of memory"
    if seconds > PATIENCE:
        return False, f"a query takes {seconds:,.1f} CPU seconds"
    if made > BUILD:
        return False, f"building takes {made / 86_400:,.0f} CPU days"
    return True, f"{needed / 1e9:,.1f} GB of memory, {1e3 * seconds:,.1f} CPU ms a query"
