"""Images a CPU second of a training step: FastSeek's trainer beside a plain loop of PyTorch, and
beside one with pytorch-metric-learning's loss where that package is installed.

python benchmarks/training.py --steps 12 --runs 3 --out benchmarks/results/training.json

Same network (MobileNetV2, GeM, a linear layer of 256, a linear classifier), same images of Grocery,
decoded and cropped in the same process, AdamW, batches of 32. Every variant runs in a process of
its own, in turn; the first steps are not counted.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import measure
import torch

from fastseek.data.datasets.grocery import Grocery

BATCH, WARM = 32, 3
NET = "mobilenetv2_100"
VARIANTS = {
    "plain loop": {},
    "plain loop, channels last": {"last": True},
    "FastSeek, everything off": {"ours": True},
    "FastSeek, SEEK.CHANNELS_LAST": {"ours": True, "last": True},
    "pytorch-metric-learning": {"metric": True},
}


class Clock:
    """CPU seconds of the steps behind the first ones."""

    def __init__(self, steps: int) -> None:
        self.steps, self.done, self.began = steps, 0, 0.0

    def tick(self) -> bool:
        """Count a step; whether it was the last."""
        self.done += 1
        if self.done == WARM:
            self.began = time.process_time()
        return self.done == WARM + self.steps

    def images_per_second(self) -> float:
        """Of the steps that count."""
        return self.steps * BATCH / (time.process_time() - self.began)


def run_plain(clock: Clock, size: int, last: bool = False, metric: bool = False) -> None:
    """A training loop as anyone would write it."""
    import timm
    from PIL import Image
    from torch import nn
    from torch.nn import functional as F
    from torchvision.transforms import v2

    items = [item for item in Grocery().items if item.split == "train"]
    labels = {label: number for number, label in enumerate(sorted({one.label for one in items}))}
    look = v2.Compose(
        [v2.RandomResizedCrop(size, scale=(0.2, 1.0)), v2.RandomHorizontalFlip(), v2.PILToTensor()]
    )
    net = timm.create_model(NET, features_only=True, out_indices=(4,))
    neck, power = nn.Linear(320, 256), nn.Parameter(torch.tensor(3.0))
    head: Any = nn.Linear(256, len(labels))
    if metric:
        from pytorch_metric_learning.losses import SubCenterArcFaceLoss

        head = SubCenterArcFaceLoss(len(labels), 256)
    layout = torch.channels_last if last else torch.contiguous_format
    net.to(memory_format=layout).train()
    parameters = [*net.parameters(), *neck.parameters(), power, *head.parameters()]
    optimizer = torch.optim.AdamW(parameters, 5e-4, weight_decay=0.05)
    mean = 255 * torch.tensor([0.485, 0.456, 0.406])[:, None, None]
    std = 255 * torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    order = torch.randperm(len(items), generator=torch.Generator().manual_seed(0)).tolist()
    for start in range(0, len(order), BATCH):
        some = [items[row] for row in order[start : start + BATCH]]
        images = torch.stack([look(Image.open(one.path).convert("RGB")) for one in some])
        targets = torch.tensor([labels[one.label] for one in some])
        seen = ((images - mean) / std).contiguous(memory_format=layout)
        maps = net(seen)[0].clamp(min=1e-6)
        embedding = neck(maps.pow(power).mean(dim=(2, 3)).pow(1 / power))
        loss = head(embedding, targets) if metric else F.cross_entropy(head(embedding), targets)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if clock.tick():
            return


def run_ours(clock: Clock, size: int, last: bool = False) -> None:
    """The same by a recipe."""
    from fastseek.config import recipe
    from fastseek.errors import StoppedError
    from fastseek.io.paths import recipe_root
    from fastseek.training.run_setup import setup
    from fastseek.training.trainer import Trainer

    class Timed(Trainer):
        def run_step(self) -> None:
            super().run_step()
            if clock.tick():
                raise StoppedError("enough")

    values: dict[str, Any] = {
        "DATASETS.NAMES": "('grocery()',)",
        "DATASETS.TESTS": "()",
        "MODEL.DEVICE": "cpu",
        "DATALOADER.NUM_WORKERS": 0,
        "SOLVER.IMS_PER_BATCH": BATCH,
        "SOLVER.MAX_EPOCH": 1,
        "SEEK.CHANNELS_LAST": last,
        "SEEK.BACKBONE": f"timm('{NET}', stages=(4,))",
        "SEEK.BRANCHES": "['gem(dim=256)']",
        "SEEK.LOSSES": "[\"cross_entropy(on='gem', bias=True)\"]",
        "SEEK.TRAIN": f"['random_resized_crop({size}, scale=(0.2, 1.0))', 'hflip(0.5)']",
        "SEEK.TEST": f"['resize(({size}, {size}))']",
    }
    with tempfile.TemporaryDirectory() as folder:
        opts = [str(part) for pair in values.items() for part in pair]
        cfg = recipe.load(
            recipe_root() / "configs" / "Base-seek.yml", [*opts, "OUTPUT_DIR", folder]
        )
        trainer = Timed(setup(cfg))
        trainer.resume_or_load(False)
        try:
            trainer.train()
        except StoppedError:
            return


def run_one(name: str, steps: int, size: int) -> None:
    """Print the figures of one variant as JSON."""
    torch.set_num_threads(1)
    options: dict[str, Any] = dict(VARIANTS[name])
    run: Callable[..., None] = run_ours if options.pop("ours", False) else run_plain
    clock = Clock(steps)
    run(clock, size, **options)
    rate = clock.images_per_second()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sys.stdout.write(json.dumps({"rate": rate, "peak MB": round(peak)}) + "\n")


def main() -> None:
    """Run the variants in turn, several times, and save medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--size", type=int, default=160)
    parser.add_argument("--one", choices=VARIANTS)
    parser.add_argument("--out")
    args = parser.parse_args()
    if args.one:
        run_one(args.one, args.steps, args.size)
        return
    found: dict[str, list[dict[str, float]]] = {name: [] for name in VARIANTS}
    if importlib.util.find_spec("pytorch_metric_learning") is None:
        del found["pytorch-metric-learning"]
    for _ in range(args.runs):
        for name, figures in found.items():
            words = ["--one", name, "--steps", str(args.steps), "--size", str(args.size)]
            done = subprocess.run(
                [sys.executable, __file__, *words], capture_output=True, text=True, check=True
            )
            figures.append(json.loads(done.stdout.splitlines()[-1]))
    plain = statistics.median(one["rate"] for one in found["plain loop"])
    rows = []
    for name, figures in found.items():
        rate = statistics.median(one["rate"] for one in figures)
        row = {
            "loop": name,
            "images a CPU second": round(rate, 1),
            "of plain": round(rate / plain, 2),
        }
        row["peak MB"] = round(statistics.median(one["peak MB"] for one in figures))
        row["runs"] = [round(one["rate"], 1) for one in figures]
        rows.append(row)
    what = f"training steps of {NET} at {args.size} pixels, batches of {BATCH}, one thread"
    measure.write(args.out, what, ("torch", "timm", "torchvision"), rows)


if __name__ == "__main__":
    main()
