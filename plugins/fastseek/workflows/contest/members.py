"""The members of a contest: trained where that is not done, and every image embedded once."""

from __future__ import annotations

import dataclasses
import pathlib
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import nn

from ...config import recipe
from ...config.nested import flatten
from ...config.sources import Setting
from ...data.fastreid_datasets import resolve
from ...errors import DataError, RunError
from ...inference import embedding
from ...inference.embed_images import load_model
from ...io.digests import sha256
from ...io.json_files import read_json
from ...io.paths import locate
from ...structures import Embeddings, Item, with_split
from ...structures.embeddings_writer import store_part
from ...structures.identity import unique_items
from ...structures.job_part import ALL, JobPart
from ..plan.run import BOOK, essence, run_steps
from ..plan.spec import NONE, Plan, PlanStep, configs, read_plan
from ..run import root
from .model_size import model_size
from .spec import Contest, MemberSpec, Settings

from fastreid.config import CfgNode

SPLIT = {"REFERENCE": "train", "QUERIES": "query", "GALLERY": "gallery"}
PATHS = ("MODEL.WEIGHTS", "SEEK.CLASSES")  # keys that name files of a training
Items = Mapping[str, Sequence[Item]]


@dataclasses.dataclass(frozen=True)
class TrainedMember:
    """A trained model.

    Args:
        spec: as the recipe names it.
        weights: its file.
        cfg: the recipe it embeds with.
        seconds: what its training took, killed runs apart; 0 where weights are named.
    """

    spec: MemberSpec
    weights: pathlib.Path
    cfg: CfgNode
    seconds: float

    def describe(self) -> dict[str, Any]:
        """All of the model that shapes what a contest answers, as JSON values."""
        counted = ("name", "family", "weight", "enhance", "search", "post")
        # The weights' bytes count, and where the training put its files does not.
        recipe = {key: value for key, value in essence(self.cfg).items() if key not in PATHS}
        named = {key: getattr(self.spec, key) for key in counted}
        return {**named, "weights": sha256(self.weights), "embedded by": recipe}


@dataclasses.dataclass(frozen=True, eq=False)
class Member:
    """What a trained model made of the contest's images.

    Args:
        spec: as the recipe names it.
        sides: side of the contest -> embeddings, of unit length.
        folders: side -> where they lie.
        seconds: what its training and embedding took, killed runs apart.
        size: bytes of the model without its class weights.
    """

    spec: MemberSpec
    sides: Mapping[str, Embeddings]
    folders: Mapping[str, pathlib.Path]
    seconds: float
    size: int = 0


def load_sides(contest: Contest, wanted: Sequence[str]) -> dict[str, Sequence[Item]]:
    """The images of every side.

    REFERENCE is the training split of its data set, QUERIES the queries, GALLERY the gallery.
    NON_LANDMARKS are the gallery images of its data set that have no label; if all have one, the
    queries without; if all have one, every image. An image stands once a side.

    Raises:
        UsageError: nobody knows a data set. DataError: a side is empty, or one id names two files.
    """
    sides: dict[str, Sequence[Item]] = {}
    opened: dict[str, Sequence[Item]] = {}
    for side in wanted:
        call = contest.sides[side]
        if call not in opened:
            opened[call] = resolve(call)
        sides[side] = _split(opened[call], side, call)
        if not sides[side]:
            raise DataError(
                f"{contest.path}: {side} {call} has no images of that kind: name another data set"
            )
    return sides


def _split(items: Sequence[Item], side: str, call: str) -> Sequence[Item]:
    if side != "NON_LANDMARKS":
        return _unique(with_split(items, SPLIT[side]), call)
    for split in ("gallery", "query"):
        without_label = [item for item in with_split(items, split) if not item.label]
        if without_label:
            return _unique(without_label, call)
    return _unique(items, call)


def _unique(items: Sequence[Item], call: str) -> Sequence[Item]:
    """Every image once; a table of items holds each once already."""
    return unique_items(items, call)


def train_member(spec: MemberSpec, out: pathlib.Path, opts: Sequence[str]) -> TrainedMember:
    """Train a model, unless that is done.

    Args:
        spec: the model.
        out: its folder.
        opts: KEY VALUE changes to its recipes, after its own.

    Raises:
        UsageError, DataError, ArtefactError, RunError: as a training.
    """
    if spec.weights:
        weights, config, seconds = locate(spec.weights, f"the weights of {spec.name}"), "", 0.0
    else:
        trained = run_steps(*plan_member(spec, opts), out / "training")
        steps = read_json(out / "training" / BOOK)["steps"]
        weights, config = trained.weights, str(trained.config)
        seconds = sum(step.get("seconds", 0.0) for step in steps)
    return TrainedMember(spec, weights, _load_embedding_recipe(spec, config, opts), seconds)


def _load_embedding_recipe(spec: MemberSpec, config: str, opts: Sequence[str]) -> CfgNode:
    """The recipe a model embeds with; `config` is that of its training, "" where none was made."""
    # The device of a run is chosen anew where it is started.
    given = dict(zip(opts[::2], opts[1::2], strict=True))
    changes = ["MODEL.DEVICE", given.get("MODEL.DEVICE", "cuda")]
    changes = [*key_value_pairs(spec.embed), *changes]
    if config:  # which has all changes to the training already
        return recipe.load(config, changes)
    return recipe.load(spec.recipe, [*key_value_pairs(spec.settings), *opts, *changes])


def plan_member(spec: MemberSpec, opts: Sequence[str]) -> tuple[Plan, list[CfgNode]]:
    """What trains a model, and the recipe of every step.

    Raises:
        UsageError: the plan or a recipe is wrong.
    """
    plan = read_plan(spec.plan) if spec.plan else _one_step_plan(spec)
    return plan, configs(plan, [*key_value_pairs(spec.settings), *opts])


def embed_member(
    trained: TrainedMember, items: Items, out: pathlib.Path, part: JobPart = ALL
) -> Member:
    """Embed every side, unless that is done.

    Args:
        trained: the model.
        items: side -> images.
        out: its folder.
        part: of this process; the other parts are done.

    Raises:
        DataError, ArtefactError, RunError: as embedding.
    """
    start = time.monotonic()
    model = load_model(trained.cfg, trained.weights)
    folders = side_folders(items, out)
    sides = {}
    for side, found in _embed_sides(trained, model, items, out, part):
        if found is None:
            raise RunError(f"{folders[side]}: shards went missing: run the same command again")
        sides[side] = found
    seconds = trained.seconds + time.monotonic() - start
    return Member(trained.spec, sides, folders, seconds, model_size(model))


def embed_member_part(
    trained: TrainedMember, items: Items, out: pathlib.Path, part: JobPart
) -> None:
    """Embed a part of every side; what is there already is not done again."""
    model = load_model(trained.cfg, trained.weights)
    for _ in _embed_sides(trained, model, items, out, part):
        pass


def side_folders(items: Items, out: pathlib.Path) -> dict[str, pathlib.Path]:
    """Side -> where its embeddings lie below the folder of a member."""
    return {
        side: out / "embeddings" / embedding.source_of(images)[:12]
        for side, images in items.items()
    }


def _embed_sides(
    trained: TrainedMember, model: nn.Module, items: Items, out: pathlib.Path, part: JobPart
) -> Iterator[tuple[str, Embeddings | None]]:
    """Yield every side with its embeddings, None while shards of other parts are missing."""
    for side, folder in side_folders(items, out).items():
        images, title = items[side], f"{trained.spec.name}: {side.lower()}{part.suffix}"
        work = embedding.job_of(trained.cfg, model, images, root(images), title)
        yield side, store_part(*work, folder, part, replace=True)


def key_value_pairs(settings: Settings) -> list[str]:
    """Settings, nested or dotted, as the command line has them: KEY VALUE KEY VALUE …"""
    pairs: list[str] = []
    for key, value in flatten(settings).items():
        pairs += [key, value if isinstance(value, str) else repr(value)]
    return pairs


def _one_step_plan(spec: MemberSpec) -> Plan:
    """A recipe as a plan without its evaluation, so that both are resumed by one rule."""
    unscored = Setting("DATASETS.TESTS", (), "contest", 0)
    step = PlanStep("train", spec.recipe, (unscored,), NONE, "final", (), "", spec.recipe)
    return Plan(spec.recipe, spec.name, (step,))
