"""CPU seconds of a training step beside other work, by how OpenMP's threads wait.

    python benchmarks/busy_machine.py --out benchmarks/results/busy_machine.json

Every row is the median of fresh processes, which take turns: MobileNetV2, two threads, real steps
(forward, backward, SGD), beside none, one … busy processes of pure Python, one fewer than
processors at most. What else the machine does is told as its load. "plain" leaves the threads as
torch has them, "ours" is what the verbs that run a model set.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from typing import Any

from measure import write

from fastseek.cli._threads import SLEEP
from fastseek.io.processors import count_processors

SETTINGS = {"plain": {}, "ours": SLEEP}
BUSY = "while True: pass"
STEPS, WARM = 4, 1


def train(batch: int, size: int) -> None:
    """Print seconds a step of this process as JSON."""
    import timm
    import torch

    torch.manual_seed(0)
    model = timm.create_model("mobilenetv2_100", num_classes=10)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    images, labels = torch.randn(batch, 3, size, size), torch.arange(batch) % 10
    for step in range(STEPS + WARM):
        if step == WARM:
            wall, cpu = time.perf_counter(), time.process_time()
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(json.dumps({"wall": wall / STEPS, "cpu": cpu / STEPS}))


def measure(setting: dict[str, str], args: argparse.Namespace) -> dict[str, float]:
    """Seconds a step in a process of its own."""
    names = {*SLEEP, "OMP_NUM_THREADS"}
    environ = {name: value for name, value in os.environ.items() if name not in names}
    environ |= {"OMP_NUM_THREADS": str(args.threads), **setting}
    command = [sys.executable, __file__, "--step", "--batch", str(args.batch)]
    command += ["--size", str(args.size)]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def beside(others: int, args: argparse.Namespace) -> dict[str, dict[str, float]]:
    """The median of every setting beside some busy processes."""
    busy = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(others)]
    try:
        found: dict[str, list[dict[str, float]]] = {name: [] for name in SETTINGS}
        for _ in range(args.runs):
            for name, setting in SETTINGS.items():
                found[name].append(measure(setting, args))
                print(name, found[name][-1], file=sys.stderr, flush=True)
    finally:
        for process in busy:
            process.kill()
            process.wait()
    return {name: median(rows) for name, rows in found.items()}


def median(rows: list[dict[str, float]]) -> dict[str, float]:
    """Column by column."""
    return {key: round(statistics.median(row[key] for row in rows), 4) for key in rows[0]}


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out")
    parser.add_argument("--step", action="store_true", help="one measurement, in this process")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--size", type=int, default=64)
    args = parser.parse_args()
    if args.step:
        train(args.batch, args.size)
        return
    rows: list[dict[str, Any]] = []
    for others in range(count_processors()):
        load = round(os.getloadavg()[0], 1)
        for name, seconds in beside(others, args).items():
            own = {"threads wait": name, "busy processes of ours": others, "load before": load}
            rows.append({**own, **seconds})
            print(rows[-1], flush=True)
    what = f"seconds a step, batches of {args.batch} at {args.size} pixels, {args.threads} threads"
    write(args.out, what, ("torch", "timm"), rows)


if __name__ == "__main__":
    main()
