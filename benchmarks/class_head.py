"""The classifier of 81,313 landmarks: one forward and backward, time and memory, beside
pytorch-metric-learning's.

    python benchmarks/class_head.py --out benchmarks/results/class_head.json

Every engine runs in a process of its own, with the same centres, embeddings and targets, at a
constant margin, so that all but the sampled one must give the same loss. Memory is the most that is
held above the centres themselves; the gradient of the centres, as large as they are, is in it. The
other library takes part when it is installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import resource
import statistics
import subprocess
import sys
import time
from typing import Any

import torch
from measure import write

MARGIN, SCALE, DIM, CENTRES = 0.3, 45.0, 512, 3
OURS = {
    "ours, chunks": "chunk=None",
    "ours, all at once": "chunk=0",
    "ours, a tenth of the classes": "sample=0.1",
}
PEER = "pytorch-metric-learning"


def make(engine: str, classes: int) -> torch.nn.Module:
    """The loss, with the centres of seed 0."""
    if engine == PEER:
        from pytorch_metric_learning.losses import SubCenterArcFaceLoss

        loss = SubCenterArcFaceLoss(
            num_classes=classes,
            embedding_size=DIM,
            margin=MARGIN * 180 / torch.pi,
            scale=SCALE,
            sub_centers=CENTRES,
        )
        centres = loss.W
    else:
        from fastseek import modeling  # noqa: F401
        from fastseek.modeling import losses  # noqa: F401
        from fastseek.registry import LOSSES, build

        call = f"subcenter_arcface('e', k={CENTRES}, s={SCALE}, margin={MARGIN}, {OURS[engine]})"
        loss = build(call, LOSSES, dims={"e": DIM}, counts=torch.ones(classes, dtype=torch.int64))
        centres = loss.weight
    with torch.no_grad():
        for start in range(0, classes * CENTRES, 9999):  # by parts: copies would count as memory
            part = torch.empty(min(9999, classes * CENTRES - start), DIM)
            part.uniform_(-(DIM**-0.5), DIM**-0.5, generator=torch.Generator().manual_seed(start))
            rows = slice(start, start + len(part))
            if engine == PEER:
                centres[:, rows] = part.T
            else:
                centres[rows] = part
    return loss


def child(engine: str, classes: int, batch: int, runs: int) -> None:
    """Measure one engine and print what was found."""
    loss = make(engine, classes)
    random = torch.Generator().manual_seed(1)
    embedding = torch.randn(batch, DIM, generator=random, requires_grad=True)
    targets = torch.randint(classes, (batch,), generator=random)
    before = resident()
    wall, cpu = [], []
    for _ in range(runs):
        loss.zero_grad(set_to_none=True)
        embedding.grad = None
        started, busy = time.perf_counter(), time.process_time()
        value = loss(embedding, targets)
        value.backward()
        wall.append(time.perf_counter() - started)
        cpu.append(time.process_time() - busy)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    print(
        json.dumps(
            {
                "loss": round(value.item(), 5),
                "gradient norm": round(float(embedding.grad.norm()), 5),
                "wall s": round(statistics.median(wall), 2),
                "CPU s": round(statistics.median(cpu), 2),
                "memory MB": round(peak - before),
                "centres MB": round(4e-6 * classes * CENTRES * DIM),
            }
        )
    )


def resident() -> float:
    """Megabytes this process holds now."""
    with open("/proc/self/status", encoding="utf-8") as file:
        return next(int(line.split()[1]) / 1000 for line in file if line.startswith("VmRSS"))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--classes", type=int, default=81_313)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--runs", type=int, default=3, help="of which the median counts")
    parser.add_argument("--out", help="JSON file")
    parser.add_argument("--engine", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.engine:
        child(args.engine, args.classes, args.batch, args.runs)
        return
    there = importlib.util.find_spec("pytorch_metric_learning") is not None
    rows: list[dict[str, Any]] = []
    for engine in [*OURS, *([PEER] if there else [])]:
        command = [
            sys.executable,
            __file__,
            "--engine",
            engine,
            "--classes",
            str(args.classes),
            "--batch",
            str(args.batch),
            "--runs",
            str(args.runs),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        rows.append(
            {
                "engine": engine,
                "classes": args.classes,
                "batch": args.batch,
                "runs": args.runs,
                **json.loads(done.stdout.splitlines()[-1]),
            }
        )
        print("  ".join(f"{key} {value}" for key, value in rows[-1].items()), flush=True)
    packages = ("torch", *(("pytorch-metric-learning",) if there else ()))
    write(args.out, "sub-center ArcFace, one forward and backward on the CPU", packages, rows)


if __name__ == "__main__":
    main()
