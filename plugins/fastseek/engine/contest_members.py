"""The members of a contest: trained where that is not done, and every photo embedded once."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import pathlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

from .. import compat  # noqa: F401  (before anything that imports fastreid)
from ..data.bridge import resolve
from ..errors import DataError
from ..files import locate, read_json, sha256, write_json
from ..structures import Embeddings, Item
from . import extract, recipe
from .budget import size
from .contest_recipe import Contest, Entrant, Settings
from .embed import load_model
from .pipeline import root
from .settings import chain
from .setup import setup
from .strict_yaml import read
from .trainer import Trainer

from fastreid.config import get_cfg

logger = logging.getLogger("fastreid.fastseek")
SPLIT = {"REFERENCE": "train", "QUERIES": "query", "GALLERY": "gallery"}
Items = Mapping[str, Sequence[Item]]


@dataclasses.dataclass(frozen=True, eq=False)
class Member:
    """A trained model and what it made of the contest's photos.

    Args:
        entrant: as the recipe names it.
        sides: side of the contest -> embeddings, of unit length.
        folders: side -> where they lie.
        seconds: what its training and embedding took, killed runs apart.
        seed: of its training.
        size: bytes of the model without its class weights.
    """

    entrant: Entrant
    sides: Mapping[str, Embeddings]
    folders: Mapping[str, pathlib.Path]
    seconds: float
    seed: int
    size: int = 0


def items_of(contest: Contest, wanted: Sequence[str]) -> dict[str, Sequence[Item]]:
    """The photos of every side.

    REFERENCE is the training split of its data set, QUERIES the queries, GALLERY the gallery; NON_LANDMARKS every photo
    of its data set's gallery, or all of them where it has none. An id stands once a side.

    Raises:
        UsageError: nobody knows a data set. DataError: a side is empty.
    """
    made: dict[str, Sequence[Item]] = {}
    opened: dict[str, Sequence[Item]] = {}
    for side in wanted:
        call = contest.sides[side]
        if call not in opened:
            opened[call] = resolve(call, get_cfg())
        found = _split(opened[call], side)
        if not found:
            raise DataError(f"{contest.path}: {side} {call} has no photos of that kind: name another data set")
        made[side] = found
    return made


def _split(items: Sequence[Item], side: str) -> list[Item]:
    if side == "NON_LANDMARKS":
        gallery = [item for item in items if item.split == "gallery"]
        return list({item.id: item for item in gallery or items}.values())
    return list({item.id: item for item in items if item.split == SPLIT[side]}.values())


def member(entrant: Entrant, items: Items, out: pathlib.Path, opts: Sequence[str]) -> Member:
    """Train a model, unless that is done, and embed every side, unless that is done.

    Args:
        entrant: the model.
        items: side -> photos.
        out: its folder.
        opts: KEY VALUE changes to its recipes, after its own.

    Raises:
        UsageError, DataError, ArtefactError, RunError: as training and embedding.
    """
    opts = [*_pairs(entrant.settings), *opts]
    weights, config, spent = _trained(entrant, out, opts)
    start = time.monotonic()
    changes = [*(opts if entrant.weights else ()), *_pairs(entrant.embed), *_device(opts)]
    cfg = recipe.load(config, changes)
    model = load_model(cfg, weights)
    sides, folders = {}, {}
    for side, photos in items.items():
        folders[side] = out / "embeddings" / extract.source_of(photos)[:12]
        sides[side] = extract.to_store(cfg, model, photos, folders[side], root(photos),
                                       f"{entrant.name}: {side.lower()}", replace=True)
    return Member(entrant, sides, folders, spent + time.monotonic() - start, cfg.SEED, size(model))


def _pairs(settings: Settings) -> list[str]:
    """KEY VALUE pairs as the command line has them."""
    return [part for key, value in settings.items() for part in (key, value if isinstance(value, str) else repr(value))]


def _device(opts: Sequence[str]) -> list[str]:
    """The device of a run is chosen anew where it is started."""
    chosen = dict(zip(opts[::2], opts[1::2], strict=True))
    return ["MODEL.DEVICE", chosen.get("MODEL.DEVICE", "cuda")]


def _trained(entrant: Entrant, out: pathlib.Path, opts: Sequence[str]) -> tuple[pathlib.Path, str, float]:
    """Weights, the recipe they belong to, and the seconds that took."""
    if entrant.weights:
        return locate(entrant.weights, f"the weights of {entrant.name}"), entrant.recipe, 0.0
    digest = _digest(entrant, opts)
    kept = out / "member.json"
    told = read_json(kept) if kept.exists() else {}
    if told.get("of") == digest and _whole(told):
        logger.info("%s is trained: %s", entrant.name, told["weights"])
        return pathlib.Path(told["weights"]), told["config"], told["seconds"]
    start = time.monotonic()
    weights, config = _train(entrant, out / f"train-{digest[:8]}", opts)
    told = {"of": digest, "weights": str(weights), "config": str(config), "sha256": sha256(weights),
            "seconds": round(time.monotonic() - start, 3)}
    write_json(kept, told)
    return weights, str(config), told["seconds"]


def _whole(told: Mapping[str, Any]) -> bool:
    weights = pathlib.Path(told["weights"])
    return weights.is_file() and sha256(weights) == told["sha256"]


def _train(entrant: Entrant, out: pathlib.Path, opts: Sequence[str]) -> tuple[pathlib.Path, pathlib.Path]:
    if entrant.plan:
        from .plan import run_plan

        trained = run_plan(entrant.plan, out, opts)
        return pathlib.Path(trained.weights), pathlib.Path(trained.config)
    cfg = setup(recipe.load(entrant.recipe, [*opts, "OUTPUT_DIR", str(out), "DATASETS.TESTS", "()"]), resume=True)
    trainer = Trainer(cfg)
    trainer.resume_or_load(resume=True)
    trainer.train()
    return out / "model_final.safetensors", out / "config.yaml"


def _digest(entrant: Entrant, opts: Sequence[str]) -> str:
    """Of everything a training rests on but the photos: the plan, its recipes with their bases, the changes."""
    recipes, steps = [entrant.recipe], {}
    if entrant.plan:
        steps = read(entrant.plan).values
        recipes = [str(pathlib.Path(entrant.plan).parent / step["RECIPE"]) for step in steps.get("STEPS", [])]
    said = [[(setting.key, repr(setting.value)) for setting in chain(one)] for one in recipes]
    return hashlib.sha256(json.dumps([steps, said, list(opts)], default=str).encode()).hexdigest()
