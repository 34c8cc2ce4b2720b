"""Embedding in parts: killed at random, and by torchrun with one process and with two.

    python benchmarks/embed_parts.py --out benchmarks/results/embed_parts.json

"killed" starts 1, 2 or 3 processes on one folder, a part each, kills some of them at random moments,
starts all of them again until none was killed, and compares every byte with those of one process that
nobody killed. "torchrun" embeds images with `fastseek embed` under torchrun, one thread a process; on a
busy machine the wall-clock figures say little, and "images a CPU second" says what a second process
costs: where it is the same, two free cores do twice as much.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import pathlib
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from measure import write
from PIL import Image

from fastseek.structures import embedding_job
from fastseek.structures.embedding_job import EmbeddingJob
from fastseek.structures.embeddings_writer import store, store_part
from fastseek.structures.job_part import JobPart

ITEMS, PIECE, SHARD = 400, 10, 40
PAUSE = 0.002  # seconds a batch takes
JOB = EmbeddingJob(ITEMS, {"model": "made up"}, "aa", shard_items=SHARD)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--images", type=int, default=600)
    parser.add_argument("--model", default="default")
    parser.add_argument("--out", help="a JSON file")
    args = parser.parse_args()
    rows = [kill(args.rounds, count) for count in (1, 2, 3) if args.rounds]
    with tempfile.TemporaryDirectory() as home:
        make_images(pathlib.Path(home) / "images", args.images)
        for processes in (1, 2) if args.images else ():
            rows.append(run_torchrun(pathlib.Path(home), args.model, processes, args.images))
    for row in rows:
        print(row)
    write(args.out, "embedding in parts", ("torch", "numpy"), rows)


def kill(rounds: int, count: int) -> dict[str, Any]:
    """Rounds of killing; how often the bytes were other than those of one process."""
    embedding_job.PIECE_ITEMS = PIECE
    chance, kills, wrong = random.Random(count), 0, 0
    with tempfile.TemporaryDirectory() as home:
        store(lambda runs: feed(runs, 0), JOB, pathlib.Path(home) / "whole")
        whole = contents(pathlib.Path(home) / "whole")
        for _ in range(rounds):
            folder = pathlib.Path(home) / "e"
            for attempt in range(4):
                running = [start(folder, JobPart(number, count)) for number in range(count)]
                time.sleep(chance.uniform(0, 0.3))
                for process in running if attempt < 3 else ():
                    if chance.random() < 0.6 and process.is_alive():
                        os.kill(process.pid or 0, signal.SIGKILL)
                        kills += 1
                for process in running:
                    process.join()
            wrong += contents(folder) != whole
            shutil.rmtree(folder)
    return {
        "what": "killed",
        "processes": count,
        "rounds": rounds,
        "processes killed": kills,
        "rounds with other bytes": wrong,
    }


def start(folder: pathlib.Path, part: JobPart) -> multiprocessing.process.BaseProcess:
    process = multiprocessing.get_context("fork").Process(target=embed, args=(folder, part))
    process.start()
    return process


def embed(folder: pathlib.Path, part: JobPart) -> None:
    store_part(lambda runs: feed(runs, PAUSE), JOB, folder, part)


def feed(runs: Sequence[range], pause: float) -> Iterator[tuple[list[str], np.ndarray, list]]:
    """Made-up vectors; every ninth image cannot be read."""
    for run in runs:
        for first in range(run.start, run.stop, 4):
            rows = range(first, min(first + 4, run.stop))
            time.sleep(pause)
            good = [row for row in rows if row % 9]
            vectors = [np.random.default_rng(row).normal(size=16) for row in good]
            rejects = [
                {"path": f"{row}.jpg", "row": row, "code": "TRUNCATED"}
                for row in rows
                if row % 9 == 0
            ]
            yield [f"{row}.jpg" for row in good], np.array(vectors).reshape(-1, 16), rejects


def contents(folder: pathlib.Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def make_images(folder: pathlib.Path, count: int) -> None:
    folder.mkdir()
    chance = np.random.default_rng(0)
    for number in range(count):
        small = Image.fromarray(chance.integers(0, 256, (30, 40, 3), np.uint8))
        small.resize((640, 480)).save(folder / f"{number:06d}.jpg", quality=90)


def run_torchrun(home: pathlib.Path, model: str, processes: int, images: int) -> dict[str, Any]:
    """Images a second and a CPU second; the start of the processes is taken out by a run on a
    finished folder.
    """
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(processes)),
        *("-m", "fastseek", "embed", "--model", model, "--images", str(home / "images")),
        *("--out", str(home / f"{processes}"), "--threads", "1", "--engine", "eager"),
    ]
    whole, empty = timed(command), timed(command)
    wall, busy = (whole[name] - empty[name] for name in ("wall", "cpu"))
    return {
        "what": "torchrun",
        "processes": processes,
        "images": images,
        "seconds": round(wall, 1),
        "CPU seconds": round(busy, 1),
        "images a second": round(images / wall, 2),
        "images a CPU second": round(images / busy, 2),
        "load of the machine": round(os.getloadavg()[0], 1),
    }


def timed(command: list[str]) -> dict[str, float]:
    environ = {**os.environ, "OMP_NUM_THREADS": "1"}
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(command, check=True, env=environ, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall": time.monotonic() - start, "cpu": cpu}


if __name__ == "__main__":
    main()
