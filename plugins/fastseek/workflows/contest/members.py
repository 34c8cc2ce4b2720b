"""The members of a contest: trained where that is not done, and every image embedded once."""

from __future__ import annotations

import dataclasses
import pathlib
import time
from collections.abc import Mapping, Sequence

from torch import nn

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
from .model_size import model_size
from .spec import Contest, MemberSpec, Settings

from fastreid.config import CfgNode

SPLIT = {"REFERENCE": "train", "QUERIES": "query", "GALLERY": "gallery"}
Items = Mapping[str, Sequence[Item]]


@dataclasses.dataclass(frozen=True, eq=False)
class Member:
    """A trained model and what it made of the contest's images.

    Args:
        spec: as the recipe names it.
        sides: side of the contest -> embeddings, of unit length.
        folders: side -> where they lie.
        seconds: what its training and embedding took, killed runs apart.
        seed: of its training.
        size: bytes of the model without its class weights.
    """

    spec: MemberSpec
    sides: Mapping[str, Embeddings]
    folders: Mapping[str, pathlib.Path]
    seconds: float
    seed: int
    size: int = 0


@dataclasses.dataclass(frozen=True)
class TrainedMember:
    """Weights, the recipe they belong to, and the seconds the training took."""

    weights: pathlib.Path
    config: str
    seconds: float


def load_sides(contest: Contest, wanted: Sequence[str]) -> dict[str, Sequence[Item]]:
    """The images of every side.

    REFERENCE is the training split of its data set, QUERIES the queries, GALLERY the gallery.
    NON_LANDMARKS are the gallery images of its data set that have no label; if all have one, the
    queries without; if all have one, every image. An id stands once a side.

    Raises:
        UsageError: nobody knows a data set. DataError: a side is empty.
    """
    sides: dict[str, Sequence[Item]] = {}
    opened: dict[str, Sequence[Item]] = {}
    for side in wanted:
        call = contest.sides[side]
        if call not in opened:
            opened[call] = resolve(call)
        sides[side] = _split(opened[call], side)
        if not sides[side]:
            raise DataError(
                f"{contest.path}: {side} {call} has no images of that kind: name another data set"
            )
    return sides


def _split(items: Sequence[Item], side: str) -> Sequence[Item]:
    if side != "NON_LANDMARKS":
        return _unique(with_split(items, SPLIT[side]))
    for split in ("gallery", "query"):
        without_label = [item for item in with_split(items, split) if not item.label]
        if without_label:
            return _unique(without_label)
    return _unique(items)


def _unique(items: Sequence[Item]) -> Sequence[Item]:
    """Every id once; a table of items holds each once already."""
    return list({item.id: item for item in items}.values()) if isinstance(items, list) else items


def prepare_member(
    spec: MemberSpec, items: Items, out: pathlib.Path, opts: Sequence[str]
) -> Member:
    """Train a model, unless that is done, and embed every side, unless that is done.

    Args:
        spec: the model.
        items: side -> images.
        out: its folder.
        opts: KEY VALUE changes to its recipes, after its own.

    Raises:
        UsageError, DataError, ArtefactError, RunError: as training and embedding.
    """
    opts = [*key_value_pairs(spec.settings), *opts]
    trained = _train_member(spec, out, opts)
    start = time.monotonic()
    # A recipe that was trained here has the changes already; one whose weights are named has not.
    changes = [*(opts if spec.weights else ()), *key_value_pairs(spec.embed), *_device(opts)]
    cfg = recipe.load(trained.config, changes)
    model = load_model(cfg, trained.weights)
    folders = {
        side: out / "embeddings" / embedding.source_of(images)[:12]
        for side, images in items.items()
    }
    sides = {
        side: _embed(cfg, model, images, folders[side], f"{spec.name}: {side.lower()}")
        for side, images in items.items()
    }
    seconds = trained.seconds + time.monotonic() - start
    return Member(spec, sides, folders, seconds, cfg.SEED, model_size(model))


def _embed(
    cfg: CfgNode, model: nn.Module, images: Sequence[Item], folder: pathlib.Path, title: str
) -> Embeddings:
    return embedding.to_store(cfg, model, images, folder, root(images), title, replace=True)


def key_value_pairs(settings: Settings) -> list[str]:
    """Settings as the command line has them: KEY VALUE KEY VALUE …"""
    pairs: list[str] = []
    for key, value in settings.items():
        pairs += [key, value if isinstance(value, str) else repr(value)]
    return pairs


def _device(opts: Sequence[str]) -> list[str]:
    """The device of a run is chosen anew where it is started."""
    chosen = dict(zip(opts[::2], opts[1::2], strict=True))
    return ["MODEL.DEVICE", chosen.get("MODEL.DEVICE", "cuda")]


def _train_member(spec: MemberSpec, out: pathlib.Path, opts: Sequence[str]) -> TrainedMember:
    if spec.weights:
        weights = locate(spec.weights, f"the weights of {spec.name}")
        return TrainedMember(weights, spec.recipe, 0.0)
    plan = read_plan(spec.plan) if spec.plan else _one_step_plan(spec)
    trained = run_steps(plan, configs(plan, opts), out / "training")
    steps = read_json(out / "training" / BOOK)["steps"]
    seconds = sum(step.get("seconds", 0.0) for step in steps)
    return TrainedMember(trained.weights, str(trained.config), seconds)


def _one_step_plan(spec: MemberSpec) -> Plan:
    """A recipe as a plan without its evaluation, so that both are resumed by one rule."""
    unscored = Setting("DATASETS.TESTS", (), "contest", 0)
    step = PlanStep("train", spec.recipe, (unscored,), NONE, "final", (), "", spec.recipe)
    return Plan(spec.recipe, spec.name, (step,))
