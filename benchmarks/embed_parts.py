"""Embedding in parts: killed at random, and by torchrun with one process and with two.

    python benchmarks/embed_parts.py --out benchmarks/results/embed_parts.json

"killed" starts 1, 2 or 3 processes on one folder, a part each, kills some of them at random moments,
starts all of them again until none was killed, and compares every byte with those of one process that
nobody killed. "torchrun" embeds images with `fastseek embed` under torchrun, one thread a process, by one
process and by two in turn. What starting and loading the model take is taken out: it is in a run over a few
images, too. On a busy machine images a second of wall time say how the machine was shared out; "CPU s an image,
by one process" says what a second process costs: where it is 1, two free cores do twice as much. Rows of what is
not asked for stay in --out.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import os
import pathlib
import random
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from measure import write
from PIL import Image

from fastseek.io.json_files import read_json
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
    parser.add_argument("--images", type=int, default=3000, help="0: no torchrun")
    parser.add_argument("--few", type=int, default=60, help="images of the shorter runs")
    parser.add_argument("--repeat", type=int, default=3, help="runs of torchrun, in turn")
    parser.add_argument("--model", default="default")
    parser.add_argument("--out", help="a JSON file")
    args = parser.parse_args()
    rows: list[dict[str, Any]] = []
    if args.out and pathlib.Path(args.out).exists():
        measured = {"killed": args.rounds, "torchrun": args.images}
        rows = [row for row in read_json(args.out)["rows"] if not measured[row["what"]]]
    rows += [kill(args.rounds, count) for count in (1, 2, 3) if args.rounds]
    if args.images:
        rows += measure_torchrun(args.model, args.images, args.few, args.repeat)
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


def measure_torchrun(model: str, images: int, few: int, repeat: int) -> list[dict[str, Any]]:
    """Images a second and CPU seconds an image of one process and of two."""
    spent: dict[tuple[int, int], list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as name:
        home = pathlib.Path(name)
        for count in (few, images):
            make_images(home / f"images{count}", count)
        for number in range(repeat):
            for processes, count in itertools.product((1, 2), (few, images)):
                command = torchrun(model, processes, home / f"images{count}", home / f"{number}")
                spent.setdefault((processes, count), []).append(timed(command))
                shutil.rmtree(home / f"{number}")
    rows = [describe(spent, processes, images, few) for processes in (1, 2)]
    one, two = (row["CPU s an image"] for row in rows)
    rows[1]["CPU s an image, by one process"] = round(two / one, 3)
    rows[1]["images a second, by one process"] = round(
        rows[1]["images a second"] / rows[0]["images a second"], 3
    )
    return rows


def describe(
    spent: dict[tuple[int, int], list[dict[str, float]]], processes: int, images: int, few: int
) -> dict[str, Any]:
    """The medians of what the images that the longer runs have more took."""
    more = {
        name: statistics.median(
            long[name] - short[name]
            for long, short in zip(spent[processes, images], spent[processes, few], strict=True)
        )
        for name in ("wall", "cpu")
    }
    return {
        "what": "torchrun",
        "processes": processes,
        "images": images - few,
        "runs": len(spent[processes, images]),
        "seconds": round(more["wall"], 1),
        "CPU seconds": round(more["cpu"], 1),
        "images a second": round((images - few) / more["wall"], 2),
        "CPU s an image": round(more["cpu"] / (images - few), 4),
        "CPU s of starting": round(
            statistics.median(short["cpu"] for short in spent[processes, few])
            - few * more["cpu"] / (images - few),
            1,
        ),
        "load of the machine": round(os.getloadavg()[0], 1),
    }


def torchrun(model: str, processes: int, images: pathlib.Path, folder: pathlib.Path) -> list[str]:
    """The command that embeds a folder of images."""
    return [
        *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(processes)),
        *("-m", "fastseek", "embed", "--model", model, "--images", str(images)),
        *("--out", str(folder), "--threads", "1", "--engine", "eager"),
    ]


def timed(command: list[str]) -> dict[str, float]:
    environ = {**os.environ, "OMP_NUM_THREADS": "1"}
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(command, check=True, env=environ, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall": time.monotonic() - start, "cpu": cpu}


if __name__ == "__main__":
    main()
