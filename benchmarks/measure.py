"""What every benchmark shares: seconds, peak memory, facts about the machine, and the result as
JSON.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import pathlib
import platform
import statistics
import subprocess
import threading
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np

from fastseek.io.json_files import write_json


def seconds(work: Callable[[], Any], runs: int = 3) -> dict[str, float]:
    """Median wall-clock and CPU seconds of a few runs; on a busy machine CPU seconds are the ones
    to compare.
    """
    wall, cpu = [], []
    for _ in range(runs):
        started, busy = time.perf_counter(), time.process_time()
        work()
        wall.append(time.perf_counter() - started)
        cpu.append(time.process_time() - busy)
    return {"wall": round(statistics.median(wall), 4), "cpu": round(statistics.median(cpu), 4)}


def peak_megabytes(work: Callable[[], Any]) -> float:
    """Most memory held at once by what the work allocates (arrays included), in MB."""
    tracemalloc.start()
    try:
        work()
        return round(tracemalloc.get_traced_memory()[1] / 1e6, 1)
    finally:
        tracemalloc.stop()


def held_megabytes(work: Callable[[], Any]) -> float:
    """Most memory of its own, in MB, that this process holds above what it held before, while the
    work is done.

    Unlike `peak_megabytes` it slows nothing down and sees what torch and other libraries take;
    mapped files are none of a process's own.
    """
    before, peak, done = anonymous(), [0.0], threading.Event()

    def look() -> None:
        while not done.wait(0.005):
            peak[0] = max(peak[0], anonymous() - before)

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        work()
    finally:
        done.set()
        watcher.join()
    return round(peak[0], 1)


def anonymous() -> float:
    """Megabytes of memory of this process that are no mapped files."""
    lines = pathlib.Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1.024e-3 for line in lines if line.startswith("RssAnon"))


def photos(count: int, dim: int, seed: int, groups: int) -> np.ndarray:
    """Unit vectors [count, dim] float32 around `groups` directions."""
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(7).standard_normal((groups, dim), np.float32)
    vectors = np.empty((count, dim), np.float32)
    for start in range(0, count, 65536):
        block = random.standard_normal((min(65536, count - start), dim), np.float32) * np.float32(
            1.2
        )
        block += centres[random.integers(0, groups, len(block))]
        vectors[start : start + len(block)] = block / np.linalg.norm(block, axis=1, keepdims=True)
    return vectors


def machine() -> dict[str, Any]:
    """Processor, cores, threads, system and load."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": os.environ.get("OMP_NUM_THREADS", "all"),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 1),
    }


def _processor() -> str:
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(
            line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")
        )
    except (OSError, StopIteration):
        return platform.processor() or "unknown"


def versions(*packages: str) -> dict[str, str]:
    """The installed versions."""
    return {name: importlib.metadata.version(name) for name in packages}


def write(
    path: str | None, what: str, packages: tuple[str, ...], rows: list[dict[str, Any]]
) -> None:
    """Write the rows with machine and versions to `path`, if there is one."""
    if path:
        commit = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
        )
        write_json(
            path,
            {
                "what": what,
                "machine": machine(),
                "versions": versions(*packages),
                "rows": rows,
                "commit": commit.stdout.strip(),
                "date": datetime.date.today().isoformat(),
            },
        )
