"""One training of an ablation, and the answers of every step that shares its model."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import pathlib
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import nn

from ...config import recipe
from ...config.catalog import is_rounds
from ...config.keys import SHAPES_ANSWER, select_values, shaping
from ...data.fastreid_datasets import resolve
from ...inference import embedding
from ...inference.classification import load_classifier
from ...inference.embed_images import load_model
from ...io.digests import digest, sha256
from ...io.json_files import read_json
from ...io.paths import locate
from ...io.stage_record import StageRecord
from ...retrieval import retrieve
from ...structures import GroundTruth, Ranking
from ...structures.splits import split_sides
from ...training.run_setup import setup, start_log
from ...training.trainer import Trainer
from ..plan.run import Trained, run_plan
from ..run import AGAIN, Sides, embed_sides, root, without_last_evaluation
from ..self_training.models import Model, latest_training
from ..self_training.run import run_rounds
from .blend import Blend
from .ensemble import CLASSIFIED, EMBEDDED, classify_step, embed_step
from .former import former_inputs
from .spec import AblationStep, Opts

from fastreid.config import CfgNode

RANKING, TRUTH, RECORD = "ranking.npz", "truth.npz", "done.json"
LETTERS = 10  # of a digest in a folder's name


@dataclasses.dataclass(frozen=True)
class Answer:
    """One step with one seed.

    Args:
        step: its name.
        config, opts: its recipe.
        plan: trains it instead, "" for none.
        seed: of the training.
        training: folder the model is trained in.
        folder: holds `files` and their record, done.json, when finished.
        files: ranking.npz and truth.npz where it searches, classified.npz where it classifies,
            embedded.npz where it is a member of an ensemble.
        inputs: all that shapes the files, as JSON values.
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
    inputs: Mapping[str, Any]
    members: tuple[tuple[Answer, float], ...] = ()
    blend: Blend | None = None

    @property
    def record(self) -> StageRecord:
        """What says whether there is anything left to do."""
        # A record of version 0.1 has no digest: its folder's name says what it was made from.
        return StageRecord(self.folder, self.inputs, RECORD, former=("",), needs=self.files)

    @property
    def is_finished(self) -> bool:
        """Whether there is nothing left to do."""
        return self.record.is_finished()

    @property
    def seconds(self) -> float:
        """How long it took."""
        stage = self.record.load()
        return 0.0 if stage is None else float(stage.results["seconds"])

    def load(self) -> tuple[Ranking, GroundTruth]:
        """What was found, and what should have been."""
        return Ranking.load(self.folder / RANKING), GroundTruth.load(self.folder / TRUTH)


def plan_answers(steps: Sequence[AblationStep], seed: int, out: pathlib.Path) -> list[Answer]:
    """Where every step with a seed trains and answers."""
    embedded = {number for step in steps if step.blend is None for number, _ in step.members}
    answers: list[Answer] = []
    for number, step in enumerate(steps):
        answer = _plan_answer(step, seed, out, number in embedded)
        members = [(answers[member], weight) for member, weight in step.members]
        answers.append(_plan_join(answer, members, step.blend) if members else answer)
    return answers


def _plan_join(
    answer: Answer, members: Sequence[tuple[Answer, float]], blend: Blend | None
) -> Answer:
    """An ensemble or blend: its folder is named by what its members are."""
    joined: list[Any] = [[member.folder.name, weight] for member, weight in members]
    joined += [] if blend is None else [dataclasses.astuple(blend)]
    name = answer.folder.name.rsplit("-", 1)[0]
    return dataclasses.replace(
        answer,
        folder=answer.folder.parent / f"{name}-{_short(joined)}",
        inputs={"joined": joined},
        members=tuple(members),
        blend=blend,
    )


def _plan_answer(step: AblationStep, seed: int, out: pathlib.Path, embeds: bool) -> Answer:
    """Where a step with a seed trains and answers: folders named by a digest of all that shapes the
    result.

    Steps that differ in nothing but what happens after the training share one training.

    Args:
        step: what is trained, or an ensemble, whose members `plan_answers` knows.
        seed: of the training.
        out: the folder of the ablation.
        embeds: whether an ensemble wants its embeddings.
    """
    cfg = recipe.load(step.config, [*step.opts, "SEED", str(seed)])
    images = _image_digest(cfg)
    plan = pathlib.Path(step.plan).read_text(encoding="utf-8") if step.plan else ""
    training, answer = training_inputs(cfg, images, plan), answer_inputs(cfg, images, plan)
    former = former_inputs(cfg, images, plan) or (training, answer)
    files = [RANKING, TRUTH] if cfg.SEEK.METRICS else []
    files += [CLASSIFIED] if cfg.SEEK.CLASS_METRICS else []
    files += [EMBEDDED] if embeds else []
    return Answer(
        step=step.name,
        config=step.config,
        opts=step.opts,
        plan=step.plan,
        seed=seed,
        training=_folder(out / "trainings", f"seed{seed}", training, former[0]),
        folder=_folder(out / "answers", f"{slug(step.name)}-seed{seed}", answer, former[1]),
        files=tuple(files),
        inputs=answer,
    )


def training_inputs(cfg: CfgNode, images: str, plan: str) -> dict[str, Any]:
    """All that shapes a model, as JSON values.

    Args:
        cfg: the recipe.
        images: a digest of its images.
        plan: the text of the plan that trains it, "" for none.
    """
    inputs = {"images": images, "plan": plan, "trained by": shaping(cfg)}
    if cfg.MODEL.WEIGHTS:  # another file may come to stand under that name
        inputs["starts from"] = sha256(locate(cfg.MODEL.WEIGHTS, "MODEL.WEIGHTS"))
    return inputs


def answer_inputs(cfg: CfgNode, images: str, plan: str) -> dict[str, Any]:
    """All that shapes an answer; as `training_inputs`."""
    told = select_values(cfg, SHAPES_ANSWER)
    return {**training_inputs(cfg, images, plan), "answered by": told}


def _folder(
    home: pathlib.Path, name: str, inputs: Mapping[str, Any], former: Mapping[str, Any]
) -> pathlib.Path:
    """Named by the inputs; the folder that version 0.1 has made of the same, if it is there."""
    known = home / f"{name}-{_short(former)}"
    return known if known.is_dir() else home / f"{name}-{_short(inputs)}"


def _short(value: Any) -> str:
    return digest(value)[:LETTERS]


def slug(name: str) -> str:
    """A name as part of a folder's."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "step"


def _image_digest(cfg: CfgNode) -> str:
    """A digest over all images of the recipe: others, or changed ones, are another training."""
    names = dict.fromkeys([*cfg.DATASETS.NAMES, *cfg.DATASETS.TESTS])
    found = [resolve(name, combine_all=cfg.DATASETS.COMBINEALL) for name in names]
    return embedding.source_of([item for items in found for item in items])


def train_and_answer(answers: Sequence[Answer], quiet: bool = True) -> None:
    """Train the one model of these answers, or go on with it, and write all of their files.

    Args:
        answers: with one training folder and one seed.
        quiet: log to the folder of the training only.

    Raises:
        FastSeekError: what the training or the search raises.
    """
    start = time.monotonic()
    first = answers[0]
    folder = ["OUTPUT_DIR", str(first.training)]
    cfg = recipe.load(first.config, [*first.opts, "SEED", str(first.seed), *folder])
    with _restored_logs():
        if quiet:
            start_log(cfg.OUTPUT_DIR)
            _mute_screen()
        train = _train_plan(first) if first.plan else _train_recipe(setup(cfg, resume=True))
        model, classes = train
        for answer in answers:
            _write_answer(answer, model, classes)
            record_answer(answer, time.monotonic() - start)
            start = time.monotonic()


def record_answer(answer: Answer, seconds: float) -> None:
    """Record that an answer is finished, after all of its files are written."""
    results = {
        "step": answer.step,
        "seed": answer.seed,
        "training": "" if answer.members else answer.training.name,
        "seconds": round(seconds, 3),
    }
    answer.record.finish([answer.folder / name for name in answer.files], results)


def _train_recipe(cfg: CfgNode) -> tuple[nn.Module, pathlib.Path]:
    """A trained model and the file of its classes."""
    trainer = Trainer(without_last_evaluation(cfg), advice=AGAIN)
    trainer.resume_or_load(resume=True)
    trainer.train()
    return trainer.model, pathlib.Path(trainer.cfg.SEEK.CLASSES)


def _train_plan(answer: Answer) -> tuple[nn.Module, pathlib.Path]:
    """The model at the end of a plan, every training of which gets the changes of the ablation.

    Of a plan of rounds it is the model of the last round: its best is chosen by the images that are
    scored here.
    """
    opts = [*answer.opts, "SEED", str(answer.seed)]
    trained: Trained | Model
    if is_rounds(answer.plan):
        run_rounds(answer.plan, answer.training, opts=opts)
        last = read_json(answer.training / "rounds.json")["rounds"][-1]["training"]
        trained = latest_training(answer.training / last)
    else:
        trained = run_plan(answer.plan, answer.training, opts)
    cfg, weights = recipe.load(trained.config), pathlib.Path(trained.weights)
    model = load_classifier(cfg, weights)[1] if cfg.SEEK.CLASS_METRICS else load_model(cfg, weights)
    return model, weights.parent / "classes.json"


def _write_answer(answer: Answer, model: nn.Module, classes: pathlib.Path) -> None:
    """Write the files of an answer: the last ranking, the class probabilities, the embeddings."""
    opts = [*answer.opts, "SEED", str(answer.seed), "SEEK.CLASSES", str(classes)]
    cfg = recipe.load(answer.config, opts)
    if RANKING in answer.files:
        _search(answer, cfg, model)
    if CLASSIFIED in answer.files:
        classify_step(cfg, model).save(answer.folder / CLASSIFIED)
    if EMBEDDED in answer.files:
        embed_step(cfg, model, answer.folder).save(answer.folder / EMBEDDED)


def _search(answer: Answer, cfg: CfgNode, model: nn.Module) -> None:
    name = cfg.DATASETS.TESTS[0]
    items = resolve(name, combine_all=cfg.DATASETS.COMBINEALL)
    sides = Sides(*split_sides(items, name), True)
    # Steps with one training share embeddings where their views and sizes are the same.
    folder = _short(embedding.describe_model(cfg, model, root(sides.queries)))
    pair, truth = embed_sides(cfg, model, sides, answer.training / "embeddings" / folder)
    ranking = retrieve(*pair, cfg.SEEK.SEARCH, cfg.SEEK.ENHANCE, cfg.SEEK.RERANK)[-1]
    ranking.save(answer.folder / RANKING, force=True)
    truth.save(answer.folder / TRUTH)


@contextlib.contextmanager
def _restored_logs() -> Iterator[None]:
    """Put the handlers of the log back as they were when the block ends."""
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


def _mute_screen() -> None:
    """Keep the log off the screen, which several trainings share; files stay."""
    for name in ("fastreid", "fastseek"):
        log = logging.getLogger(name)
        for handler in [one for one in log.handlers if type(one) is logging.StreamHandler]:
            log.removeHandler(handler)
