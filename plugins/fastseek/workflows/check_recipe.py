"""Does a recipe work? Build it, take two steps and evaluate it, on a gallery made up in seconds."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import logging
import math
import os
import pathlib
import re
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from ..config import recipe
from ..config.catalog import is_base, is_plan, is_rounds
from ..config.edits import on_meta_device, replace_values, without_pretrained
from ..config.nested import flatten
from ..data.synthetic import write_gallery
from ..errors import FastSeekError
from ..io.json_files import write_json
from ..io.paths import PathLike
from ..modeling.build import build_model
from ..registry import LOSSES, parse, unparse
from ..structures import Embeddings
from ..training.run_setup import setup
from ..training.trainer import Trainer
from .plan.run import run_steps
from .plan.spec import NONE, Plan, configs, read_plan
from .self_training.spec import read_rounds

from fastreid.config import CfgNode

CLASSES, STEPS = 8, 2
LARGEST = 96  # pixels of an image's side
GRID = 6  # tokens of a side, for nets that take one size only
PATCHES = 9  # of a side, for vision transformers: more tokens than SALAD has clusters
PATCH = re.compile(r"patch(\d+)")  # in timm's names
LARGE = 12.0  # millions of parameters
TRANSFORMED = ("SEEK.TRAIN", "SEEK.TEST")
IMAGES = "images"  # the folder of the synthetic gallery
BOXES = "boxes.json"  # a box for each of its images
TEACHER = "teacher"  # a vector for each of them


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of one recipe.

    Args:
        path: the recipe.
        summary: "loaded", what was trained, or the error.
        failed: whether it is an error.
        seconds: how long it took.
    """

    path: str
    summary: str
    failed: bool
    seconds: float


def check(paths: Sequence[PathLike], large: bool = True) -> Iterator[Outcome]:
    """Try recipes one after the other; a recipe that fails does not keep the next from being tried.

    A `Base-*.yml` is only loaded. The others run on the CPU with small synthetic images, small
    batches and no pretrained weights, everything else as they say. A plan runs all of its steps so,
    from none but its own weights. A plan of rounds is only read, with the recipes of its trainings.

    Args:
        paths: recipes, plans, plans of rounds.
        large: False only builds a Seeker of more than 12 million parameters, as shapes without
            values.
    """
    for path in paths:
        start = time.monotonic()
        try:
            summary, failed = _try(path, large), False
        except FastSeekError as error:
            summary, failed = str(error), True
        except Exception as error:
            # Any crash is the recipe's outcome: the next one shall still be tried.
            summary, failed = f"{type(error).__name__}: {error}", True
        yield Outcome(str(path), summary, failed, time.monotonic() - start)


def _try(path: PathLike, large: bool) -> str:
    if is_rounds(path):
        rounds = read_rounds(path)
        return f"legal, {rounds.rounds} rounds of {len(rounds.steps)} steps"
    if is_plan(path):
        return _try_plan(path, large)
    cfg = recipe.load(path)
    if is_base(path):
        return "loaded"
    size = 0.0 if large else _millions(cfg)
    return f"built, {size:.1f} million parameters" if size > LARGE else _train(cfg)


def _train(cfg: CfgNode) -> str:
    """Two steps and an evaluation of the recipe, made small."""
    with tempfile.TemporaryDirectory() as folder, _quiet(folder):
        small = shrink_recipe(cfg, pathlib.Path(folder))
        _write_images(folder, small.SOLVER.IMS_PER_BATCH)
        trainer = Trainer(setup(small))
        trainer.resume_or_load(resume=False)
        results: dict[str, float] = trainer.train() or {}
    figures = [f"{name} {value:.1f}" for name, value in results.items() if name != "metric"]
    return f"{trainer.max_iter} steps, {', '.join(figures) or 'not evaluated'}"


def _try_plan(path: PathLike, large: bool) -> str:
    plan = read_plan(path)
    sizes = [0.0 if large else _millions(cfg) for cfg in configs(plan)]
    if max(sizes) > LARGE:
        built = (f"{step.name} {size:.1f}" for step, size in zip(plan.steps, sizes, strict=True))
        return f"built, millions of parameters: {', '.join(built)}"
    with tempfile.TemporaryDirectory() as folder, _quiet(folder):
        home = pathlib.Path(folder)
        small = [shrink_recipe(cfg, home) for cfg in configs(plan)]
        _write_images(folder, max(cfg.SOLVER.IMS_PER_BATCH for cfg in small))
        run_steps(_without_outside_weights(plan), small, home / "out")
    return f"{len(plan.steps)} steps: {', '.join(step.name for step in plan.steps)}"


def _without_outside_weights(plan: Plan) -> Plan:
    """The plan whose steps start from each other or from nothing: files may not be at hand."""
    own = {step.name for step in plan.steps}
    steps = [
        step if step.source in own else dataclasses.replace(step, source=NONE)
        for step in plan.steps
    ]
    return dataclasses.replace(plan, steps=tuple(steps))


def _write_images(folder: str, batch: int) -> None:
    """Write a gallery with as many training images as STEPS batches take."""
    each, left = divmod(STEPS * batch, CLASSES)
    train = [each + (label < left) for label in range(CLASSES)]
    home = pathlib.Path(folder)
    write_gallery(home / IMAGES, CLASSES, train, query=2, gallery=4, size=LARGEST)
    names = [path.relative_to(home / IMAGES).as_posix() for path in home.rglob("*.jpg")]
    side = {"width": LARGEST, "height": LARGEST}
    middle = [LARGEST // 4, LARGEST // 4, LARGEST // 2, LARGEST // 2]
    images = [{"id": row, "file_name": name, **side} for row, name in enumerate(sorted(names))]
    boxes = [{"image_id": row, "bbox": middle} for row in range(len(names))]
    write_json(home / BOXES, {"images": images, "annotations": boxes})
    vectors = np.random.default_rng(0).normal(size=(len(names), 8)).astype(np.float32)
    Embeddings(np.asarray(sorted(names)), vectors).save(home / TEACHER)


def _millions(cfg: CfgNode) -> float:
    """Parameters of a Seeker at the recipe's own image size, in millions, from shapes alone.

    0 for other models, which cannot be built without values.
    """
    if cfg.MODEL.META_ARCHITECTURE != "Seeker":
        return 0.0
    with torch.device("meta"):
        model = build_model(on_meta_device(cfg))
    return sum(parameter.numel() for parameter in model.parameters()) / 1e6


def shrink_recipe(cfg: CfgNode, folder: pathlib.Path) -> CfgNode:
    """The recipe on synthetic images in `folder`/images: small, on the CPU, two steps.

    Pretrained weights are left out: they may not be at hand, and two steps show nothing of them.
    """
    batch, data = _batch(cfg), f"folder({str(folder / IMAGES)!r})"
    values = {
        "DATASETS.NAMES": (data,),
        "DATASETS.TESTS": (data,) if len(cfg.DATASETS.TESTS) else (),
        "DATASETS.COMBINEALL": False,
        "TEST.PRECISE_BN.DATASET": data,
        "TEST.PRECISE_BN.NUM_ITER": 2,
        "OUTPUT_DIR": str(folder / "out"),
        "MODEL.DEVICE": "cpu",
        "MODEL.WEIGHTS": "",
        "MODEL.HEADS.NUM_CLASSES": 0,
        "SEED": max(cfg.SEED, 0),
        "DATALOADER.NUM_WORKERS": 0,
        "SOLVER.AMP.ENABLED": False,
        "SOLVER.MAX_EPOCH": 1,
        "SOLVER.WARMUP_ITERS": 0,
        "SOLVER.DELAY_EPOCHS": 0,
        "SOLVER.FREEZE_ITERS": min(cfg.SOLVER.FREEZE_ITERS, 1),
        "SOLVER.IMS_PER_BATCH": batch,
        "TEST.IMS_PER_BATCH": batch,
        "SEEK.CLASSES": "",
        "SEEK.EXPECT": [],
        "SEEK.STOP_AT": 0,
        "SEEK.CROPS": _boxes_of(cfg.SEEK.CROPS, folder),
        "SEEK.LOSSES": [_teach_by_stand_in(call, folder) for call in cfg.SEEK.LOSSES],
    }
    sizes = ("INPUT.SIZE_TRAIN", "INPUT.SIZE_TEST", "INPUT.CROP.SIZE")
    values |= {key: _sizes(list(value)) for key, value in _values(cfg, sizes).items()}
    calls = {
        key: [_resize(call) for call in value] for key, value in _values(cfg, TRANSFORMED).items()
    }
    bare = without_pretrained(cfg)
    return replace_values(bare, values | calls | _with_grid(bare.SEEK.BACKBONE, calls))


def _values(cfg: CfgNode, keys: Sequence[str]) -> dict[str, Any]:
    found = flatten(cfg)
    return {key: found[key] for key in keys}


def _boxes_of(call: str, folder: pathlib.Path) -> str:
    """SEEK.CROPS with the boxes of the synthetic images: the recipe's own are of others."""
    name, args, kwargs = parse(call) if call else ("", [], {})
    return unparse(name, args, kwargs | {"file": str(folder / BOXES)}) if name == "boxes" else call


def _teach_by_stand_in(call: str, folder: pathlib.Path) -> str:
    """A loss with stored vectors of the synthetic images, where it learns from others.

    Pairs are compared, as the stand-in's vectors have a length of their own.
    """
    name, args, kwargs = parse(call)
    if name not in ("distill", "matryoshka"):
        return call
    given = dict(inspect.signature(LOSSES.get(name)).bind_partial(*args, **kwargs).arguments)
    if name == "matryoshka":
        return unparse(name, [], given | {"call": _teach_by_stand_in(given["call"], folder)})
    asked = given["teachers"]
    count = 1 if isinstance(asked, str) else len(asked)
    stand_in = {"teachers": [str(folder / TEACHER)] * count, "loss": "similarity"}
    return unparse(name, [], given | stand_in)


def _with_grid(backbone: str, transforms: Mapping[str, list[str]]) -> dict[str, Any]:
    """What makes images fit a network that does not take every size.

    A hybrid Swin takes images of one size only, here of GRID x GRID tokens; a vision transformer
    those its patches divide, here PATCHES x PATCHES. Every step of a plan gets the same grid, so that its weights fit the next step's.

    Args:
        backbone: SEEK.BACKBONE.
        transforms: the calls of every key of TRANSFORMED.

    Returns:
        values by key; none for other networks.
    """
    name, args, kwargs = parse(backbone) if backbone else ("", [], {})
    if name == "vit":
        return _with_patches(str(kwargs.get("name", args[0] if args else "")), transforms)
    if name != "hybrid_swin":
        return {}
    reduction = (
        2 ** kwargs.get("cnn_stage", 2) * kwargs.get("stem_stride", 2)
        if kwargs.get("cnn", "b5")
        else 4
    )
    small = {**dict(kwargs.get("kwargs", {})), "img_size": 4 * GRID}
    made: dict[str, Any] = {"SEEK.BACKBONE": unparse(name, args, kwargs | {"kwargs": small})}
    for key, calls in transforms.items():
        made[key] = [_fit_to_grid(call, GRID * reduction) for call in calls]
    return made


def _with_patches(net: str, transforms: Mapping[str, list[str]]) -> dict[str, Any]:
    """The transforms, with the sides that were cut to LARGEST set to whole patches."""
    found = PATCH.search(net)
    side = PATCHES * int(found[1] if found else 16)

    def fit(value: Any) -> Any:
        if isinstance(value, list | tuple):
            return type(value)(fit(one) for one in value)
        return side if value == LARGEST else value

    made: dict[str, Any] = {}
    for key, calls in transforms.items():
        parts = [parse(call) for call in calls]
        made[key] = [
            unparse(
                part, [fit(one) for one in args], {name: fit(one) for name, one in given.items()}
            )
            for part, args, given in parts
        ]
    return made


def _fit_to_grid(call: str, side: int) -> str:
    part, _, given = parse(call)
    return unparse(part, [side], given) if part == "resize" else call


def _batch(cfg: CfgNode) -> int:
    """At least eight images, and for samplers of P x K twice K: a loss needs two classes."""
    if cfg.SEEK.SAMPLER:
        k = _per_class(cfg.SEEK.SAMPLER)
    else:
        k = cfg.DATALOADER.NUM_INSTANCE if "Identity" in cfg.DATALOADER.SAMPLER_TRAIN else 1
    return k * max(2, math.ceil(8 / k))


def _per_class(call: str) -> int:
    """How many images of a class a sampler puts side by side."""
    name, args, kwargs = parse(call)
    if "of" in kwargs:
        return _per_class(kwargs["of"])
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
