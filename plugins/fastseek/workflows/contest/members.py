"""The members of a contest: trained where that is not done, and every photo embedded once."""

from __future__ import annotations

import dataclasses
import pathlib
import time
from collections.abc import Mapping, Sequence

from ...config import recipe
from ...config.sources import Setting
from ...data.fastreid_datasets import resolve
from ...errors import DataError
from ...inference import embedding
from ...inference.embed_images import load_model
from ...io.json_files import read_json
from ...io.paths import locate
from ...structures import Embeddings, Item, with_split
from ..plan.run import BOOK, run_steps
from ..plan.spec import NONE, Plan, PlanStep, configs, read_plan
from ..run import root
from .model_size import size
from .spec import Contest, MemberSpec, Settings

from fastreid.config import get_cfg

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

    entrant: MemberSpec
    sides: Mapping[str, Embeddings]
    folders: Mapping[str, pathlib.Path]
    seconds: float
    seed: int
    size: int = 0


def items_of(contest: Contest, wanted: Sequence[str]) -> dict[str, Sequence[Item]]:
    """The photos of every side.

    REFERENCE is the training split of its data set, QUERIES the queries, GALLERY the gallery.
    NON_LANDMARKS are the gallery photos of its data set that have no label; if all have one, the
    queries without; if all have one, every photo. An id stands once a side.

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
            raise DataError(
                f"{contest.path}: {side} {call} has no photos of that kind: name another data set"
            )
        made[side] = found
    return made


def _split(items: Sequence[Item], side: str) -> Sequence[Item]:
    if side != "NON_LANDMARKS":
        return _once(with_split(items, SPLIT[side]))
    for split in ("gallery", "query"):
        part = with_split(items, split)
        found = [item for item in part if not item.label]
        if found:
            return _once(found)
    return _once(items)


def _once(items: Sequence[Item]) -> Sequence[Item]:
    """Every id once; columns hold each once as they are."""
    return list({item.id: item for item in items}.values()) if isinstance(items, list) else items


def member(entrant: MemberSpec, items: Items, out: pathlib.Path, opts: Sequence[str]) -> Member:
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
    weights, config, spent = _train_member(entrant, out, opts)
    start = time.monotonic()
    changes = [*(opts if entrant.weights else ()), *_pairs(entrant.embed), *_device(opts)]
    cfg = recipe.load(config, changes)
    model = load_model(cfg, weights)
    sides, folders = {}, {}
    for side, photos in items.items():
        folders[side] = out / "embeddings" / embedding.source_of(photos)[:12]
        sides[side] = embedding.to_store(
            cfg,
            model,
            photos,
            folders[side],
            root(photos),
            f"{entrant.name}: {side.lower()}",
            replace=True,
        )
    return Member(entrant, sides, folders, spent + time.monotonic() - start, cfg.SEED, size(model))


def _pairs(settings: Settings) -> list[str]:
    """KEY VALUE pairs as the command line has them."""
    return [
        part
        for key, value in settings.items()
        for part in (key, value if isinstance(value, str) else repr(value))
    ]


def _device(opts: Sequence[str]) -> list[str]:
    """The device of a run is chosen anew where it is started."""
    chosen = dict(zip(opts[::2], opts[1::2], strict=True))
    return ["MODEL.DEVICE", chosen.get("MODEL.DEVICE", "cuda")]


def _train_member(
    entrant: MemberSpec, out: pathlib.Path, opts: Sequence[str]
) -> tuple[pathlib.Path, str, float]:
    """Weights, the recipe they belong to, and the seconds that took."""
    if entrant.weights:
        return locate(entrant.weights, f"the weights of {entrant.name}"), entrant.recipe, 0.0
    plan = read_plan(entrant.plan) if entrant.plan else _one_step(entrant)
    trained = run_steps(plan, configs(plan, opts), out / "training")
    spent = sum(step.get("seconds", 0.0) for step in read_json(out / "training" / BOOK)["steps"])
    return trained.weights, str(trained.config), spent


def _one_step(entrant: MemberSpec) -> Plan:
    """A recipe as a plan, without its evaluation: what is done, changed or stopped is told in one
    way.
    """
    unscored = Setting("DATASETS.TESTS", (), "contest", 0)
    step = PlanStep("train", entrant.recipe, (unscored,), NONE, "final", (), "", entrant.recipe)
    return Plan(entrant.recipe, entrant.name, (step,))
