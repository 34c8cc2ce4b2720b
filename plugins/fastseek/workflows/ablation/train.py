"""One training of an ablation, and the answers of every step that shares its model."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import logging
import pathlib
import re
import time
from collections.abc import Iterator, Sequence
from typing import Any

from torch import nn

from ...config import recipe
from ...config.catalog import is_rounds
from ...config.keys import SHAPES_ANSWER, select_values, shaping
from ...data.fastreid_datasets import resolve
from ...inference import embedding
from ...inference.classification import load_classifier
from ...inference.embed_images import load_model
from ...io.json_files import read_json, write_json
from ...retrieval import retrieve
from ...structures import GroundTruth, Ranking
from ...structures.splits import split_sides
from ...training.run_setup import setup, start_log
from ...training.trainer import Trainer
from ..plan.run import Trained, run_plan
from ..run import Sides, embed_sides, root, without_last_evaluation
from ..self_training.models import Model, latest_training
from ..self_training.run import run_rounds
from .blend import Blend
from .ensemble import classify_step, embed_step
from .spec import AblationStep, Opts


@dataclasses.dataclass(frozen=True)
class Answer:
    """One step with one seed.

    Args:
        step: its name.
        config, opts: its recipe.
        plan: trains it instead, "" for none.
        seed: of the training.
        training: folder the model is trained in.
        folder: holds `files` and done.json when finished.
        files: ranking.npz and truth.npz where it searches, classified.npz where it classifies,
            embedded.npz where it is a member of an ensemble.
        members: the answers it is made of and their weights, for an ensemble or a blend.
        blend: how, for a blend.
    """

    step: str
    config: str
    opts: Opts
    plan: str
    seed: int
    training: pathlib.Path
    folder: pathlib.Path
    files: tuple[str, ...]
    members: tuple[tuple[Answer, float], ...] = ()
    blend: Blend | None = None

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to do."""
        return all((self.folder / name).exists() for name in (*self.files, "done.json"))

    @property
    def seconds(self) -> float:
        """How long it took."""
        return float(read_json(self.folder / "done.json")["seconds"])

    def load(self) -> tuple[Ranking, GroundTruth]:
        """What was found, and what should have been."""
        return Ranking.load(self.folder / "ranking.npz"), GroundTruth.load(
            self.folder / "truth.npz"
        )


def answers_of(steps: Sequence[AblationStep], seed: int, out: pathlib.Path) -> list[Answer]:
    """Where every step with a seed trains and answers."""
    asked = {number for step in steps if step.blend is None for number, _ in step.members}
    made: list[Answer] = []
    for number, step in enumerate(steps):
        one = answer_of(step, seed, out, number in asked)
        members = [(made[of], weight) for of, weight in step.members]
        made.append(_join_answers(one, members, step.blend) if members else one)
    return made


def _join_answers(
    one: Answer, members: Sequence[tuple[Answer, float]], blend: Blend | None
) -> Answer:
    """An ensemble or blend: its folder is named by what its members are."""
    whole = digest(
        [[member.folder.name, weight] for member, weight in members]
        + ([] if blend is None else [dataclasses.astuple(blend)])
    )
    return dataclasses.replace(
        one,
        folder=one.folder.parent / f"{one.folder.name.rsplit('-', 1)[0]}-{whole}",
        members=tuple(members),
        blend=blend,
    )


def answer_of(step: AblationStep, seed: int, out: pathlib.Path, asked: bool = False) -> Answer:
    """Where a step with a seed trains and answers: folders named by a digest of all that shapes the
    result.

    Steps that differ in nothing but what happens after the training share one training.

    Args:
        step: what is trained, or an ensemble, whose `members` `answers_of` knows.
        seed: of the training.
        out: the folder of the ablation.
        asked: an ensemble wants its embeddings.
    """
    cfg = recipe.load(step.config, [*step.opts, "SEED", seed])
    told = {
        "photos": images_of(cfg),
        "plan": pathlib.Path(step.plan).read_text(encoding="utf-8") if step.plan else "",
        "trained by": shaping(cfg),
    }
    training = digest(told)
    whole = digest({**told, "answered by": select_values(cfg, SHAPES_ANSWER)})
    files = [
        *(["ranking.npz", "truth.npz"] if cfg.SEEK.METRICS else []),
        *(["classified.npz"] if cfg.SEEK.FIGURES else []),
        *(["embedded.npz"] if asked else []),
    ]
    return Answer(
        step.name,
        step.config,
        step.opts,
        step.plan,
        seed,
        out / "trainings" / f"seed{seed}-{training}",
        out / "answers" / f"{slug(step.name)}-seed{seed}-{whole}",
        tuple(files),
    )


def slug(name: str) -> str:
    """A name as part of a folder's."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "step"


def digest(told: Any) -> str:
    """Ten characters of a SHA-256 over JSON values."""
    return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()[:10]


def images_of(cfg: Any) -> str:
    """A digest over all photos of the recipe: other photos, or changed ones, are another
    training.
    """
    return embedding.source_of(
        [
            item
            for name in dict.fromkeys([*cfg.DATASETS.NAMES, *cfg.DATASETS.TESTS])
            for item in resolve(name, cfg)
        ]
    )


def train_and_answer(answers: Sequence[Answer], quiet: bool = True) -> None:
    """Train the one model of these answers, or go on with it, and write all of their rankings.

    Args:
        answers: with one training folder and one seed.
        quiet: log to the folder of the training only.

    Raises:
        FastSeekError: what the training or the search raises.
    """
    start = time.monotonic()
    first = answers[0]
    cfg = recipe.load(
        first.config, [*first.opts, "SEED", first.seed, "OUTPUT_DIR", str(first.training)]
    )
    with _screen():
        if quiet:
            start_log(cfg.OUTPUT_DIR)
            _silence()
        model, classes = (
            _train_plan(first) if first.plan else _train_recipe(setup(cfg, resume=True))
        )
        for one in answers:
            answer(one, model, classes)
            write_json(
                one.folder / "done.json",
                {
                    "step": one.step,
                    "seed": one.seed,
                    "training": one.training.name,
                    "seconds": round(time.monotonic() - start, 3),
                },
            )
            start = time.monotonic()


def _train_recipe(cfg: Any) -> tuple[nn.Module, pathlib.Path]:
    trainer = Trainer(without_last_evaluation(cfg))
    trainer.resume_or_load(resume=True)
    trainer.train()
    return trainer.model, pathlib.Path(trainer.cfg.SEEK.CLASSES)


def _train_plan(one: Answer) -> tuple[nn.Module, pathlib.Path]:
    """The model at the end of a plan, every training of which gets the changes of the ablation.

    Of a plan of rounds it is the model of the last round: its best is chosen by the photos that are
        scored here.
    """
    opts = [*one.opts, "SEED", one.seed]
    if is_rounds(one.plan):
        run_rounds(one.plan, one.training, opts=opts)
        last = read_json(one.training / "rounds.json")["rounds"][-1]["training"]
        made: Trained | Model = latest_training(one.training / last)
    else:
        made = run_plan(one.plan, one.training, opts)
    cfg, classes = recipe.load(made.config), pathlib.Path(made.weights).parent / "classes.json"
    return (
        load_classifier(cfg, made.weights)[1] if cfg.SEEK.FIGURES else load_model(cfg, made.weights)
    ), classes


def answer(one: Answer, model: nn.Module, classes: pathlib.Path) -> None:
    """Write the files of an answer that are not there: the last ranking, the class probabilities,
    the embeddings.

    Args:
        one: the step.
        model: its model.
        classes: the file with the model's classes.
    """
    cfg = recipe.load(one.config, [*one.opts, "SEED", one.seed, "SEEK.CLASSES", str(classes)])
    if "ranking.npz" in one.files:
        _search_answers(one, cfg, model)
    if "classified.npz" in one.files:
        classify_step(cfg, model).save(one.folder / "classified.npz")
    if "embedded.npz" in one.files:
        embed_step(cfg, model).save(one.folder / "embedded.npz")


def _search_answers(one: Answer, cfg: Any, model: nn.Module) -> None:
    sides = Sides(*split_sides(resolve(cfg.DATASETS.TESTS[0], cfg), cfg.DATASETS.TESTS[0]), True)
    made_by = digest(embedding.describe_model(cfg, model, root(sides.queries)))
    pair, truth = embed_sides(cfg, model, sides, one.training / "embeddings" / made_by)
    ranking = retrieve(*pair, cfg.SEEK.SEARCH, cfg.SEEK.ENHANCE, cfg.SEEK.RERANK)[-1]
    ranking.save(one.folder / "ranking.npz")
    truth.save(one.folder / "truth.npz")


@contextlib.contextmanager
def _screen() -> Iterator[None]:
    """Put the handlers of the log back as they were."""
    logs = [logging.getLogger(name) for name in ("fastreid", "fastseek")]
    before = [list(log.handlers) for log in logs]
    try:
        yield
    finally:
        for log, handlers in zip(logs, before, strict=True):
            for handler in [one for one in log.handlers if one not in handlers]:
                log.removeHandler(handler)
                handler.close()
            log.handlers[:] = handlers
            log.output = None  # type: ignore[attr-defined]


def _silence() -> None:
    for name in ("fastreid", "fastseek"):
        log = logging.getLogger(name)
        for handler in [one for one in log.handlers if type(one) is logging.StreamHandler]:
            log.removeHandler(handler)
