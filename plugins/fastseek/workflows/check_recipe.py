"""Does a recipe work? Build it, take two steps and evaluate it, on a gallery made up in seconds."""

from __future__ import annotations

import colorsys
import contextlib
import dataclasses
import logging
import math
import os
import pathlib
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw

from ..config import recipe
from ..config.catalog import is_base, is_plan, is_rounds
from ..config.edits import without_pretrained
from ..errors import FastSeekError
from ..io.paths import PathLike
from ..modeling.build import build_model
from ..registry import parse, unparse
from ..training.run_setup import setup
from ..training.trainer import Trainer
from .plan.run import run_steps
from .plan.spec import NONE, configs, read_plan
from .self_training.spec import read_rounds

from fastreid.config import CfgNode

CLASSES, STEPS, LARGEST, GRID = 8, 2, 96, 6
LARGE = 12.0  # millions of parameters


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of one recipe: "loaded", "trained", or the error."""

    path: str
    told: str
    failed: bool
    seconds: float


def check(paths: Sequence[PathLike], large: bool = True) -> Iterator[Outcome]:
    """Try recipes one after the other; a recipe that fails does not keep the next from being tried.

    A `Base-*.yml` is only loaded. The others run on the CPU with small made-up photos, small
    batches and no pretrained weights, everything else as they say; a plan runs all of its steps so,
    from none but its own weights. A plan of rounds is only read, with the recipes of its trainings.
    Without `large`, a Seeker of more than 12 million parameters is only built, as shapes without
    values.
    """
    for path in paths:
        start = time.monotonic()
        try:
            told, failed = _try(path, large), False
        except FastSeekError as error:
            told, failed = str(error), True
        except (
            Exception
        ) as error:  # any crash is the recipe's outcome, the next one shall still be tried
            told, failed = f"{type(error).__name__}: {error}", True
        yield Outcome(str(path), told, failed, time.monotonic() - start)


def _try(path: PathLike, large: bool) -> str:
    if is_rounds(path):
        plan = read_rounds(path)
        return f"legal, {plan.rounds} rounds of {len(plan.steps)} steps"
    if is_plan(path):
        return _try_plan(path, large)
    cfg = recipe.load(path)
    if is_base(path):
        return "loaded"
    if not large and (size := _millions(cfg)) > LARGE:
        return f"built, {size:.1f} million parameters"
    with tempfile.TemporaryDirectory() as folder, _quiet(folder):
        small = shrunk(cfg, pathlib.Path(folder))
        write_gallery(pathlib.Path(folder) / "photos", STEPS * small.SOLVER.IMS_PER_BATCH)
        trainer = Trainer(setup(small))
        trainer.resume_or_load(resume=False)
        results = trainer.train()
    figures = ", ".join(
        f"{name} {value:.1f}" for name, value in (results or {}).items() if name != "metric"
    )
    return f"{trainer.max_iter} steps, {figures or 'not evaluated'}"


def _try_plan(path: PathLike, large: bool) -> str:
    plan = read_plan(path)
    sizes = [0.0 if large else _millions(cfg) for cfg in configs(plan)]
    if max(sizes) > LARGE:
        built = (f"{step.name} {size:.1f}" for step, size in zip(plan.steps, sizes, strict=True))
        return f"built, millions of parameters: {', '.join(built)}"
    steps = [
        dataclasses.replace(
            step, source=step.source if step.source in {one.name for one in plan.steps} else NONE
        )
        for step in plan.steps
    ]
    with tempfile.TemporaryDirectory() as folder, _quiet(folder):
        small = [shrunk(cfg, pathlib.Path(folder)) for cfg in configs(plan)]
        write_gallery(
            pathlib.Path(folder) / "photos", STEPS * max(cfg.SOLVER.IMS_PER_BATCH for cfg in small)
        )
        run_steps(
            dataclasses.replace(plan, steps=tuple(steps)), small, pathlib.Path(folder) / "out"
        )
    return f"{len(steps)} steps: {', '.join(step.name for step in steps)}"


def _millions(cfg: CfgNode) -> float:
    """Parameters of a Seeker for the recipe's own photos, in millions, from shapes alone; 0 for
    other models.
    """
    if cfg.MODEL.META_ARCHITECTURE != "Seeker":
        return 0.0
    bare = without_pretrained(cfg)
    bare.defrost()
    bare.MODEL.DEVICE, bare.MODEL.HEADS.NUM_CLASSES, bare.SEEK.CLASSES = "meta", 0, ""
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in build_model(bare).parameters()) / 1e6


def shrunk(cfg: CfgNode, folder: pathlib.Path) -> CfgNode:
    """The recipe for made-up photos in `folder`/photos: small, on the CPU, without pretrained
    weights, two steps.
    """
    small = without_pretrained(cfg)
    small.defrost()
    data = f"folder({str(folder / 'photos')!r})"
    small.DATASETS.NAMES, small.DATASETS.COMBINEALL = (data,), False
    small.DATASETS.TESTS = (data,) if len(cfg.DATASETS.TESTS) else ()
    small.TEST.PRECISE_BN.DATASET, small.TEST.PRECISE_BN.NUM_ITER = data, 2
    small.OUTPUT_DIR = str(folder / "out")
    small.MODEL.DEVICE, small.MODEL.WEIGHTS, small.SOLVER.AMP.ENABLED = "cpu", "", False
    small.MODEL.HEADS.NUM_CLASSES, small.SEEK.CLASSES, small.SEEK.EXPECT = 0, "", []
    small.SEED, small.DATALOADER.NUM_WORKERS = max(cfg.SEED, 0), 0
    small.SOLVER.MAX_EPOCH, small.SOLVER.WARMUP_ITERS, small.SOLVER.DELAY_EPOCHS = 1, 0, 0
    small.SEEK.STOP_AT = 0
    small.SOLVER.FREEZE_ITERS = min(cfg.SOLVER.FREEZE_ITERS, 1)
    small.SOLVER.IMS_PER_BATCH = small.TEST.IMS_PER_BATCH = _batch(cfg)
    for key in ("SIZE_TRAIN", "SIZE_TEST"):
        small.INPUT[key] = _sizes(list(cfg.INPUT[key]))
    small.INPUT.CROP.SIZE = _sizes(list(cfg.INPUT.CROP.SIZE))
    for key in ("TRAIN", "TEST"):
        small.SEEK[key] = [_resize(call) for call in cfg.SEEK[key]]
    _with_grid(small.SEEK)
    small.freeze()
    return small


def _with_grid(seek: CfgNode) -> None:
    """A hybrid Swin, which takes photos of one size only, made for GRID x GRID tokens in every step
    of a plan.
    """
    name, args, kwargs = parse(seek.BACKBONE) if seek.BACKBONE else ("", [], {})
    if name != "hybrid_swin":
        return
    reduction = (
        2 ** kwargs.get("cnn_stage", 2) * kwargs.get("stem_stride", 2)
        if kwargs.get("cnn", "b5")
        else 4
    )
    small = {**dict(kwargs.get("kwargs", {})), "img_size": 4 * GRID}
    seek.BACKBONE = unparse(name, args, kwargs | {"kwargs": small})
    for key in ("TRAIN", "TEST"):
        calls = [(call, *parse(call)) for call in seek[key]]
        seek[key] = [
            unparse(part, [GRID * reduction], given) if part == "resize" else call
            for call, part, _, given in calls
        ]


def _batch(cfg: CfgNode) -> int:
    """At least eight photos, and for samplers of P x K twice K."""
    if cfg.SEEK.SAMPLER:
        k = _together(cfg.SEEK.SAMPLER)
    else:
        k = cfg.DATALOADER.NUM_INSTANCE if "Identity" in cfg.DATALOADER.SAMPLER_TRAIN else 1
    return k * max(2, math.ceil(8 / k))


def _together(call: str) -> int:
    """How many photos of a class a sampler puts side by side."""
    name, args, kwargs = parse(call)
    if "of" in kwargs:
        return _together(kwargs["of"])
    key = {"pk": "k", "balanced_pk": "k", "balanced": "m"}.get(name)
    return kwargs.get(key, args[0] if args else 4) if key else 1


def _sizes(sizes: list[int]) -> list[int]:
    """Sides no longer than LARGEST, in the same proportions."""
    longest = max(sizes)
    return (
        sizes if longest <= LARGEST else [max(1, round(side * LARGEST / longest)) for side in sizes]
    )


def _resize(call: str) -> str:
    """A transform's call string with its sides cut: whole numbers beyond LARGEST can be nothing
    else.
    """
    name, args, kwargs = parse(call)
    return unparse(
        name,
        [_cut_tokens(value) for value in args],
        {key: _cut_tokens(value) for key, value in kwargs.items()},
    )


def _cut_tokens(value: Any) -> Any:
    if isinstance(value, list | tuple) and value and all(type(one) is int for one in value):
        return type(value)(_sizes(list(value)))
    return min(value, LARGEST) if type(value) is int else value


def write_gallery(folder: pathlib.Path, train: int) -> None:
    """Write `train` training photos, two queries and four gallery photos a class: a coloured disc
    on noise.
    """
    shares = [train // CLASSES + (label < train % CLASSES) for label in range(CLASSES)]
    for label in range(CLASSES):
        for split, count in (("train", shares[label]), ("query", 2), ("gallery", 4)):
            home = folder / split / f"class_{label}"
            home.mkdir(parents=True)
            for number in range(count):
                _photo(label, (split, number)).save(home / f"{number}.jpg")


def _photo(label: int, which: tuple[str, int]) -> Image.Image:
    random = np.random.default_rng([label, which[1], len(which[0])])
    image = Image.fromarray(random.integers(90, 166, (LARGEST, LARGEST, 3), np.uint8))
    colour = tuple(int(255 * part) for part in colorsys.hsv_to_rgb(label / CLASSES, 0.9, 0.9))
    x, y = random.uniform(30, LARGEST - 30, 2)
    ImageDraw.Draw(image).ellipse((x - 24, y - 24, x + 24, y + 24), fill=colour)
    return image


@contextlib.contextmanager
def _quiet(folder: str) -> Iterator[None]:
    """No log lines on the screen, and no log file left open below `folder`."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
        for name in ("fastreid", "fastseek"):
            own = logging.getLogger(name)
            for handler in [one for one in own.handlers if isinstance(one, logging.FileHandler)]:
                if handler.baseFilename.startswith(os.path.abspath(folder)):
                    own.removeHandler(handler)
                    handler.close()
