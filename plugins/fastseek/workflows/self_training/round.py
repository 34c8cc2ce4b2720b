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
from ...io.atomic import atomic
from ...io.digests import digest, sha256
from ...io.paths import locate
from ...io.stage_record import Stage, StageRecord
from ...report import row
from ...self_training.tables import write_manifest
from ...structures import Item
from ..plan.run import former_recipe_digest, recipe_digest
from ..plan.spec import NONE, PREVIOUS
from . import models as models
from .context import RoundContext, Told
from .images import ImagePools, without_groups
from .select_steps import cluster_step, pseudo_step, recluster_step, select_step
from .steps import LABELLED, GrowStep, RoundsPlan

logger = logging.getLogger("fastreid.fastseek")
NO_INPUT = ("NOTE",)  # keys of a step that shape nothing
CHOOSE = {
    "cluster": cluster_step,
    "recluster": recluster_step,
    "select": select_step,
    "pseudo": pseudo_step,
}
READS = {
    "embed": ("@train",),
    "classify": ("@train",),
    "cluster": ("@embed",),
    "recluster": ("@embed",),
    "select": ("@clusters",),
    "pseudo": ("@classify", "@embed", "@pseudo"),
}


class Round:
    """One round of a plan.

    Args:
        plan: the plan.
        photos: what it learns from.
        out: the folder of the run; the round has one of its own there.
        number: from 1.
        last: see `Desk`; what the round before has left.
        opts: KEY VALUE changes to every training.
    """

    def __init__(
        self,
        plan: RoundsPlan,
        photos: ImagePools,
        out: pathlib.Path,
        number: int,
        last: Mapping[str, Stage],
        opts: Sequence[Any],
    ) -> None:
        self.plan, self.opts, self.home = plan, list(opts), out / f"round{number}"
        self.desk = RoundContext(photos, number, plan.seed, dict(last))
        truth = [photos.truth.get(item.id, "") for item in photos.unlabelled]
        told = [(item.id, item.label, item.group) for item in (*photos.pool, *photos.validation)]
        self._photos = digest([source_of(photos.pool), source_of(photos.validation), told, truth])

    def do(self, step: GrowStep) -> Stage:
        """Do a step, unless it is done and nothing it rests on has changed.

        Raises:
            FastSeekError: what the step raises; the steps before it are intact.
        """
        folder, began, name = (
            self.home / step.name,
            time.monotonic(),
            f"round {self.desk.number}: {step.name}",
        )
        record = StageRecord(folder, self._inputs(step), former=(self._former_digest(step),))
        stage = record.load()
        if stage is None:
            logger.info("%s (%s)", name, step.kind)
            files, scores, results = self._work(step, folder)
            line = row(name, scores, time.monotonic() - began)
            stage = record.finish(files, {**results, "kind": step.kind, "row": line})
        else:
            logger.info("%s is done", name)
        kinds = [f"@{step.kind}", *(["@clusters"] if step.kind in ("cluster", "recluster") else [])]
        self.desk.last |= dict.fromkeys([*kinds, step.name], stage)
        return stage

    def _inputs(self, step: GrowStep) -> dict[str, Any]:
        """All that shapes a step."""
        return {
            "round": self.desk.number,
            "seed": self.plan.seed,
            "step": {key: value for key, value in step.values.items() if key not in NO_INPUT},
            "figures": self.plan.figures,
            "images": self._photos,
            "settings": [[one.key, one.value] for one in step.settings],
            "rests on": self._rests(step, recipe_digest),
        }

    def _former_digest(self, step: GrowStep) -> str:
        """The digest of a step in records of before inputs had names and keys of recipes tags."""
        own = {"step": dict(step.values), "rests on": self._rests(step, former_recipe_digest)}
        return digest([*(self._inputs(step) | own).values()])

    def _rests(self, step: GrowStep, hash_recipe: Callable[[Any], str]) -> list[Any]:
        """Marks of all that a step reads."""
        last = self.desk.last
        if step.kind != "train":
            named = (
                [step.values["PHOTOS"]]
                if step.kind == "recluster" and "PHOTOS" in step.values
                else []
            )
            return [last[name].mark if name in last else "" for name in (*READS[step.kind], *named)]
        source = self._from(step)
        if isinstance(source, models.Model):
            start = source.mark
        else:
            start = source if source == NONE else sha256(source)
        return [
            start,
            hash_recipe(recipe.load(step.recipe, self.opts, step.settings)),
            *(last[name].mark for name in step.photos if name != LABELLED),
        ]

    def _work(self, step: GrowStep, folder: pathlib.Path) -> Told:
        if step.kind in CHOOSE:
            return CHOOSE[step.kind](self.desk, step, folder)
        return {"train": self._train, "embed": self._embed, "classify": self._classify}[step.kind](
            step, folder
        )

    def _from(self, step: GrowStep) -> models.Model | str:
        """Where a training starts: from the last one, a named one, a file, or what its backbone
        brings.
        """
        name = "@train" if step.source == PREVIOUS else step.source
        if name in self.desk.last:
            return models.latest_training(self.desk.last[name].folder)
        return (
            NONE
            if step.source in (NONE, PREVIOUS)
            else str(locate(step.source, f"FROM of {step.where}"))
        )

    def _train(self, step: GrowStep, folder: pathlib.Path) -> Told:
        parts = [(name, without_groups(self._taught(name), split="train")) for name in step.photos]
        table = write_manifest(self.home / "photos", step.name, self.desk.number, parts)
        model = models.train(step, table, self._from(step), self.plan.seed, self.opts, self.home)
        scores = models.judge_model(model, self.desk.photos, self.plan.figures)
        return (
            [model.weights, model.config, folder / "classes.json"],
            scores,
            {"photos": table.name, "figure": float(scores[0].value)},
        )

    def _taught(self, name: str) -> list[Item]:
        """Photos with the labels they have, or that a choice gives them."""
        if name == LABELLED:
            return list(self.desk.photos.labelled)
        labels = self.desk.chosen(name)
        return [
            dataclasses.replace(item, label=labels[item.id])
            for item in self.desk.photos.pool
            if item.id in labels
        ]

    def _embed(self, step: GrowStep, folder: pathlib.Path) -> Told:
        models.embed_images_of(
            models.latest_training(self.desk.last["@train"].folder),
            step.settings,
            self.desk.photos.pool,
            folder / "vectors",
        )
        return [folder / "vectors" / "manifest.json"], [], {}

    def _classify(self, step: GrowStep, folder: pathlib.Path) -> Told:
        model = models.latest_training(self.desk.last["@train"].folder)
        made_by, note = (
            digest([model.mark, self._photos, [[one.key, one.value] for one in step.settings]]),
            "made_by",
        )
        if not (folder / note).is_file() or (folder / note).read_text(encoding="utf-8") != made_by:
            shutil.rmtree(folder, ignore_errors=True)
            with atomic(folder / note, "w") as file:
                file.write(made_by)
        for name in ("unlabelled", "validation"):
            models.classify_images_of(
                model, step.settings, getattr(self.desk.photos, name), folder / name
            )
        return (
            [folder / name / "manifest.json" for name in ("unlabelled", "validation")],
            [],
            {"model": model.mark},
        )
