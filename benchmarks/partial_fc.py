"""Class weights shared out over processes: bytes and CPU seconds of a training step, beside the same
loss with all classes in every process.

    python benchmarks/partial_fc.py --out benchmarks/results/partial_fc.json

The batch of all processes together is the same in every row, and so must be the losses of the last
two steps where the classes are shared out; without that the first weights are drawn another way. Bytes are those of the class weights, their gradient and AdamW's moments in the
process that holds most; memory is the most a process held of its own above what it held before the
loss was built, with what the allocator keeps of tensors below 32 MB, as those of four processes are. A step is forward, backward and the optimizer's step.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import statistics
import tempfile
import time

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from measure import anonymous, write
from torch.nn.parallel import DistributedDataParallel

from fastseek import modeling  # noqa: F401
from fastseek.distributed.wrap import distribute
from fastseek.modeling import losses  # noqa: F401
from fastseek.registry import LOSSES, build

CALL = "subcenter_arcface('e', k=1, s=45, margin=0.3, shard={shard})"


class Net(torch.nn.Module):
    """One layer that every process has, and the loss."""

    def __init__(self, classes: int, dim: int, shard: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = torch.nn.Linear(dim, dim)
        counts = torch.ones(classes, dtype=torch.int64)
        call = CALL.format(shard=shard)
        self.loss = build(call, LOSSES, dims={"e": dim}, counts=counts)

    def forward(self, rows: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The loss of a batch."""
        return self.loss(self.layer(rows), targets)


def process(rank: int, world: int, shard: bool, sizes: tuple[int, ...], folder: str) -> None:
    """Measure in one process of several; leaves a JSON file in the folder."""
    classes, dim, batch, steps = sizes
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=world
    )
    before = anonymous()
    wrapped = distribute(Net(classes, dim, shard))
    optimizer = torch.optim.AdamW(wrapped.parameters(), lr=1e-3)
    random = torch.Generator().manual_seed(1)
    rows = torch.randn(batch, dim, generator=random)
    targets = torch.randint(classes, (batch,), generator=random)
    mine = slice(rank * batch // world, (rank + 1) * batch // world)
    cpu, values, most = [], [], 0.0
    for _ in range(steps):
        busy = time.process_time()
        optimizer.zero_grad()
        loss = wrapped(rows[mine], targets[mine])
        loss.backward()
        most = max(most, anonymous() - before)
        optimizer.step()
        cpu.append(time.process_time() - busy)
        values.append(float(loss.detach()))
    inner = wrapped.module if isinstance(wrapped, DistributedDataParallel) else wrapped
    weight = inner.loss.weight
    state = optimizer.state[weight]
    held = weight.nbytes + weight.grad.nbytes + state["exp_avg"].nbytes + state["exp_avg_sq"].nbytes
    told = {
        "bytes": held,
        "memory MB": round(max(most, anonymous() - before)),
        "CPU s": statistics.median(cpu[1:]),
        "losses": values[-2:],
    }
    pathlib.Path(folder, f"{rank}.json").write_text(json.dumps(told), encoding="utf-8")
    dist.destroy_process_group()


def measure(world: int, shard: bool, sizes: tuple[int, ...]) -> dict[str, object]:
    """A row of the result."""
    with tempfile.TemporaryDirectory() as folder:
        mp.start_processes(
            process, (world, shard, sizes, folder), nprocs=world, start_method="spawn"
        )
        told = [
            json.loads(pathlib.Path(folder, f"{rank}.json").read_text()) for rank in range(world)
        ]
    means = [sum(one["losses"][step] for one in told) / world for step in range(2)]
    return {
        "processes": world,
        "classes": "shared out" if shard else "all in every process",
        "MB of class weights, gradient and moments a process": round(
            max(one["bytes"] for one in told) / 1e6, 1
        ),
        "memory MB a process": max(one["memory MB"] for one in told),
        "CPU s a step and process": round(max(one["CPU s"] for one in told), 3),
        "losses": [round(value, 5) for value in means],
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--classes", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--batch", type=int, default=64, help="of all processes together")
    parser.add_argument("--steps", type=int, default=5, help="of which all but the first count")
    parser.add_argument("--out", help="JSON file")
    args = parser.parse_args()
    sizes = (args.classes, args.dim, args.batch, args.steps)
    rows = []
    for world, shard in ((1, True), (2, True), (4, True), (2, False)):
        rows.append(measure(world, shard, sizes))
        print("  ".join(f"{key} {value}" for key, value in rows[-1].items()), flush=True)
    about = "classes x dim: " + " x ".join(map(str, (args.classes, args.dim)))
    write(
        args.out,
        f"class weights shared out over processes, gloo on CPUs, {about}",
        ("torch",),
        rows,
    )


if __name__ == "__main__":
    main()
