"""One round: its steps one after the other, each done once."""

from __future__ import annotations

import dataclasses
import logging
import pathlib
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ...config import recipe
from ...inference.embedding import source_of
from ...io.digests import digest, sha256
from ...io.paths import locate
from ...io.stage_record import Stage, StageRecord
from ...report import row
from ...self_training.tables import write_manifest
from ...structures import Item
from ...structures.job_part import ALL, JobPart
from ..plan.run import former_recipe_digest, recipe_digest
from ..plan.spec import NONE, PREVIOUS
from . import models as models
from .context import Outcome, RoundContext, list_files
from .images import ImagePools, without_groups
from .select_steps import cluster_step, pseudo_step, recluster_step, select_step
from .spec import (
    LABELLED,
    ClassifySpec,
    ClusterSpec,
    EmbedSpec,
    PseudoSpec,
    ReclusterSpec,
    RoundsPlan,
    RoundStep,
    SelectSpec,
    TrainSpec,
)

logger = logging.getLogger("fastreid.fastseek")
NO_INPUT = ("NOTE",)  # keys of a step that shape nothing
READS = {
    "embed": ("@train",),
    "classify": ("@train",),
    "cluster": ("@embed",),
    "recluster": ("@embed",),
    "select": ("@clusters",),
    "pseudo": ("@classify", "@embed", "@pseudo"),
}
SHARED = ("embed", "classify")  # steps that several processes do a part of each
# An older run has its tables in a folder of this name, and its trainings know them by it.
TABLES = "photos"


class Round:
    """One round of a plan.

    Args:
        plan: the plan.
        images: what it learns from.
        out: the folder of the run; the round has one of its own there.
        number: from 1.
        last: see `RoundContext`; what the round before has left.
        opts: KEY VALUE changes to every training.
    """

    def __init__(
        self,
        plan: RoundsPlan,
        images: ImagePools,
        out: pathlib.Path,
        number: int,
        last: Mapping[str, Stage],
        opts: Sequence[Any],
    ) -> None:
        self.plan, self.opts, self.home = plan, list(opts), out / f"round{number}"
        self.context = RoundContext(images, number, plan.seed, dict(last))
        self._images = describe_images(images)
        self._part = ALL

    def begin(self, step: RoundStep) -> bool:
        """Clear what a step of `SHARED` cannot go on with; whether the step is done."""
        record = self._record(step)
        if record.is_finished():
            return True
        self._prepare(record, step, self._name(step))
        return False

    def embed_part(self, step: RoundStep, part: JobPart) -> None:
        """Do a part of a step of `SHARED`, and wait until the others have done theirs."""
        self._part = part
        self._work(step, self.home / step.name)

    def _name(self, step: RoundStep) -> str:
        return f"round {self.context.number}: {step.name}"

    def _record(self, step: RoundStep) -> StageRecord:
        former = (self._former_digest(step),)
        return StageRecord(self.home / step.name, self._inputs(step), former=former)

    def do(self, step: RoundStep, part: JobPart = ALL) -> Stage:
        """Do a step, unless it is done and nothing it rests on has changed.

        Args:
            step: the step.
            part: of this process, where several share the work.

        Raises:
            FastSeekError: what the step raises; the steps before it are intact.
        """
        self._part = part
        folder, began = self.home / step.name, time.monotonic()
        name, record = self._name(step), self._record(step)
        stage = record.load()
        if stage is None:
            logger.info("%s (%s)", name, step.kind)
            self._prepare(record, step, name)
            made = self._work(step, folder)
            line = row(name, made.scores, time.monotonic() - began)
            results = {**made.results, "kind": step.kind, "row": line}
            if made.warning:
                results["warning"] = f"{name}: {made.warning}"
                logger.warning("%s", results["warning"])
            stage = record.finish(made.files, results)
        else:
            logger.info("%s is done", name)
        kinds = [f"@{step.kind}", *(["@clusters"] if step.kind in ("cluster", "recluster") else [])]
        self.context.last |= dict.fromkeys([*kinds, step.name], stage)
        return stage

    def _prepare(self, record: StageRecord, step: RoundStep, name: str) -> None:
        """Say why a finished step is done again, and clear what cannot be gone on with."""
        if record.was_finished():
            logger.warning("%s is done again: %s", name, record.refusal())
        if step.kind == "classify":
            # its folders go on by themselves, but do not know what the model was trained with
            if not record.has_same_inputs():
                shutil.rmtree(record.folder, ignore_errors=True)
            record.begin()

    def _inputs(self, step: RoundStep) -> dict[str, Any]:
        """All that shapes a step."""
        return {
            "round": self.context.number,
            "seed": self.plan.seed,
            "step": {key: value for key, value in step.given.items() if key not in NO_INPUT},
            "figures": self.plan.class_metrics,
            "images": self._images,
            "settings": [[one.key, one.value] for one in step.settings],
            "rests on": self._rests(step, recipe_digest),
        }

    def _former_digest(self, step: RoundStep) -> str:
        """The digest of a step in records of before inputs had names and keys of recipes tags."""
        own = {"step": dict(step.given), "rests on": self._rests(step, former_recipe_digest)}
        return digest([*(self._inputs(step) | own).values()])

    def _rests(self, step: RoundStep, hash_recipe: Callable[[Any], str]) -> list[Any]:
        """Marks of all that a step reads."""
        last, one = self.context.last, step.spec
        if isinstance(one, TrainSpec):
            source = self._source(step.where, one)
            if isinstance(source, models.Model):
                start = source.mark
            else:
                start = source if source == NONE else sha256(source)
            cfg = recipe.load(step.recipe, self.opts, step.settings)
            choices = [last[name].mark for name in one.images if name != LABELLED]
            return [start, hash_recipe(cfg), *choices]
        names = list(READS[step.kind])
        if isinstance(one, ReclusterSpec) and one.images is not None:
            names.append(one.images)
        return [last[name].mark if name in last else "" for name in names]

    def _work(self, step: RoundStep, folder: pathlib.Path) -> Outcome:
        match step.spec:
            case TrainSpec():
                return self._train(step, step.spec, folder)
            case EmbedSpec():
                return self._embed(step, folder)
            case ClassifySpec():
                return self._classify(step, folder)
            case ClusterSpec():
                return cluster_step(self.context, step.spec, folder)
            case ReclusterSpec():
                return recluster_step(self.context, step.spec, folder)
            case SelectSpec():
                return select_step(self.context, step.spec, folder)
            case PseudoSpec():
                return pseudo_step(self.context, step.spec, folder)

    def _source(self, where: str, one: TrainSpec) -> models.Model | str:
        """Where a training starts: from the last one, a named one, a file, or what its backbone
        brings.
        """
        name = "@train" if one.source == PREVIOUS else one.source
        if name in self.context.last:
            return models.latest_training(self.context.last[name].folder)
        if one.source in (NONE, PREVIOUS):
            return NONE
        return str(locate(one.source, f"FROM of {where}"))

    def _train(self, step: RoundStep, one: TrainSpec, folder: pathlib.Path) -> Outcome:
        parts = [(name, without_groups(self._select(name), split="train")) for name in one.images]
        table = write_manifest(self.home / TABLES, step.name, self.context.number, parts)
        job = models.Job(step, table, self._source(step.where, one), self.plan.seed, self.opts)
        model = models.train(job, self.home)
        scores = models.judge_model(model, self.context.images, self.plan.class_metrics)
        results = {"photos": table.name, "figure": float(scores[0].value)}
        return Outcome([model.weights, model.config, folder / "classes.json"], scores, results)

    def _select(self, name: str) -> list[Item]:
        """Images with the labels they have, or that a choice gives them."""
        if name == LABELLED:
            return list(self.context.images.labelled)
        labels = self.context.read_choice(name)
        chosen = [item for item in self.context.images.pool if item.id in labels]
        return [dataclasses.replace(item, label=labels[item.id]) for item in chosen]

    def _last_model(self) -> models.Model:
        return models.latest_training(self.context.last["@train"].folder)

    def _embed(self, step: RoundStep, folder: pathlib.Path) -> Outcome:
        vectors, pool = folder / "vectors", self.context.images.pool
        model = self._last_model()
        models.embed_images_of(model, step.settings, pool, vectors, self._part)
        return Outcome(list_files(vectors))

    def _classify(self, step: RoundStep, folder: pathlib.Path) -> Outcome:
        model, images = self._last_model(), self.context.images
        files: list[pathlib.Path] = []
        for name, items in (("unlabelled", images.unlabelled), ("validation", images.validation)):
            models.classify_images_of(model, step.settings, items, folder / name, self._part)
            files += list_files(folder / name)
        return Outcome(files, results={"model": model.mark})


def describe_images(images: ImagePools) -> str:
    """A digest over all images of a plan, their labels and groups, and what is hidden."""
    truth = [images.truth.get(item.id, "") for item in images.unlabelled]
    known = [(item.id, item.label, item.group) for item in (*images.pool, *images.validation)]
    return digest([source_of(images.pool), source_of(images.validation), known, truth])
