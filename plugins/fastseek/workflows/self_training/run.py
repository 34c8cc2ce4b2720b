"""What `tools/grow.py` does: round after round until one gains too little, then the table and the
page.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...config.sources import overrides
from ...distributed.run_lock import hold_run_folder, wait_for_run_folder
from ...errors import UsageError
from ...inference import embedding
from ...inference.evaluation import name_rejects
from ...io.code_version import current_commit
from ...io.json_files import write_json
from ...io.paths import PathLike
from ...io.stage_record import Stage
from ...io.text_table import table
from ...metrics import evaluate
from ...registry import SEARCHERS, build
from ...report import ImageSources, PageLayout, page, write_results
from ...structures import Embeddings, GroundTruth
from ...structures.job_part import ALL, JobPart
from ...structures.splits import refuse_missing_queries
from ...training.run_setup import start_log
from . import models as models
from .images import ImagePools, image_pools_of, without_groups
from .round import SHARED, Round
from .spec import RoundsPlan, RoundStep, read_rounds

logger = logging.getLogger("fastreid.fastseek")
SHOWN = "exact(k=20)"
METRICS = ("recall(1)", "map")


def run_rounds(
    file: PathLike,
    out: PathLike,
    short: bool = False,
    opts: Sequence[Any] = (),
    part: JobPart = ALL,
) -> str:
    """Run a plan of rounds; what is finished is not done again, a killed training or embedding goes
    on.

    Writes below `out`: round1/<step>/ … with every artefact named by its round, results.json (one
        row a step, in order), rounds.json (what every round reached, why it ended, the best weights) and report.html.

    Args:
        file: see `rounds_plan.read_rounds`.
        out: the folder of the run.
        short: with the plan's SHORT.
        opts: KEY VALUE changes to every training; SEED is the plan's, too: that of hidden labels and
            clusters.
        part: of the images, that this process embeds and classifies; the processes of all parts run
            at the same time. Any other step is done by the one that comes to it first.

    Returns:
        the table as text, why it ended, and the path of the page.

    Raises:
        UsageError: the plan is wrong, or wants to learn from test images; told before anything is
            trained.
        DataError: images are missing. FastSeekError: as a training does; what is finished stays.
    """
    plan, out = _with_seed(read_rounds(file, short), opts), pathlib.Path(out)
    if not any(step.kind == "train" for step in plan.steps):
        raise UsageError(f"{plan.path}: no step trains")
    with hold_run_folder(out) if part.count == 1 else contextlib.nullcontext():
        with wait_for_run_folder(out):
            start_log(str(out))
            images = image_pools_of(plan, out)
        logger.info(
            "%d images with a label, %d without, %d to validate with",
            len(images.labelled),
            len(images.unlabelled),
            len(images.validation),
        )
        run = _Run(plan, images, out, opts, part)
        run.go()
        return _finish(run, plan, images, out)


def _finish(run: _Run, plan: RoundsPlan, images: ImagePools, out: pathlib.Path) -> str:
    """Write what came of the rounds; returns what there is to tell."""
    with wait_for_run_folder(out):
        start_log(str(out))
        write_results(out / "results.json", run.rows, current_commit(), plan.seed)
        write_json(out / "rounds.json", run.describe())
        _show(run.best, images, run.rows, plan.name, out / "report.html")
    return "\n".join(
        [
            table(run.rows),
            "",
            *run.warnings,
            run.why,
            f"best: {run.best.weights}",
            f"page: {out / 'report.html'}",
        ]
    )


def _with_seed(plan: RoundsPlan, opts: Sequence[Any]) -> RoundsPlan:
    """The plan with the seed that the changes name."""
    for one in overrides(opts):
        if one.key == "SEED":
            plan = dataclasses.replace(plan, seed=_seed(one.value))
    return plan


def _seed(value: Any) -> int:
    if str(value).isdecimal():
        return int(value)
    raise UsageError(f"SEED {value}: a whole number of 0 or more is needed")


class _Run:
    """All rounds of a plan."""

    def __init__(
        self,
        plan: RoundsPlan,
        images: ImagePools,
        out: pathlib.Path,
        opts: Sequence[Any],
        part: JobPart,
    ) -> None:
        self.plan, self.images, self.out, self.opts = plan, images, out, opts
        self.part = part
        self.rows: list[dict[str, Any]] = []
        self.warnings: list[str] = []
        # round (0 before the first), figure, last training
        self.reached: list[tuple[int, float, Stage]] = []
        self.changes: dict[int, float] = {}
        self.why = f"all {plan.rounds} rounds are done"

    def go(self) -> None:
        """Do the rounds."""
        last: dict[str, Stage] = {}
        for number in range(1, self.plan.rounds + 1):
            one = Round(self.plan, self.images, self.out, number, last, self.opts)
            if not self._round(one, number):
                break
            last = one.context.last
        best = max(self.reached, key=lambda entry: (entry[1], -entry[0]))[2]
        self.best = models.latest_training(best.folder)

    def _round(self, one: Round, number: int) -> bool:
        """Do a round; whether another may follow."""
        figures: list[tuple[float, Stage]] = []
        for step in self.plan.steps:
            if step.spec.once and number > 1:
                continue
            stage = self._do(one, step)
            self.rows.append(dict(stage.results["row"]))
            self.warnings += [stage.results["warning"]] if "warning" in stage.results else []
            found = _figure(stage)
            if found is not None:
                figures.append((found, stage))
                if not self.reached:
                    self.reached.append((0, *figures[-1]))
            if self._changed_too_little(number, stage):
                return False
        if not figures:
            raise UsageError(
                f"{self.plan.path}: no training of round {number} can be validated: its last one"
                " must be of the labelled classes"
            )
        before = self.reached[-1][1]
        self.reached.append((number, *figures[-1]))
        return not self._gained_too_little(number, figures[-1][0] - before)

    def _do(self, one: Round, step: RoundStep) -> Stage:
        """Do a step, or one's part of it."""
        if self.part.count == 1:
            return one.do(step)
        if step.kind in SHARED:
            with wait_for_run_folder(self.out):
                begun = one.begin(step)
            if not begun:
                one.embed_part(step, self.part)
        with wait_for_run_folder(self.out):
            return one.do(step, self.part)

    def _changed_too_little(self, number: int, stage: Stage) -> bool:
        """Whether the rounds end because the pseudo labels stay as they are; notes why."""
        if stage.results["kind"] != "pseudo" or "changed" not in stage.results:
            return False
        changed = self.changes[number] = float(stage.results["changed"])
        if number == 1 or changed >= self.plan.stop.changed:
            return False
        self.why = (
            f"round {number} changed {changed:.2%} of the pseudo labels, less"
            f" than {self.plan.stop.changed:.2%}: it ended there"
        )
        return True

    def _gained_too_little(self, number: int, gain: float) -> bool:
        """Whether the rounds end because one gains nothing; notes why."""
        least = self.plan.stop.gain
        if number == self.plan.rounds or gain >= least:
            return False
        self.why = (
            f"round {number} gained {100 * gain:.2f} points, less than {100 * least:.2f}: it ended"
        )
        return True

    def describe(self) -> dict[str, Any]:
        """What rounds.json says; paths are relative to the folder of the run."""
        rounds = [
            {
                "round": number,
                "figure": figure,
                "training": stage.folder.relative_to(self.out).as_posix(),
                "changed": self.changes.get(number),
            }
            for number, figure, stage in self.reached
        ]
        return {
            "plan": self.plan.name,
            "rounds": rounds,
            "why": self.why,
            "best": self.best.weights.relative_to(self.out).as_posix(),
            "labelled": len(self.images.labelled),
            "unlabelled": len(self.images.unlabelled),
            "validation": len(self.images.validation),
            "outside": _outside(self.images),
        }


def _figure(stage: Stage) -> float | None:
    """The first figure of a training whose classes are the validation's."""
    figures = stage.results["row"]["metrics"]
    if stage.results["kind"] != "train" or set(figures) <= {models.PROTOTYPE}:
        return None
    return float(stage.results["figure"])


def _outside(images: ImagePools) -> float | None:
    """Share of the unlabelled images of none of the known classes, where that is known."""
    if not images.measurable:
        return None
    return float(
        np.mean([images.truth[item.id] not in set(images.classes) for item in images.unlabelled])
    )


def _show(
    model: models.Model,
    images: ImagePools,
    rows: Sequence[dict[str, Any]],
    title: str,
    out: pathlib.Path,
) -> None:
    """The page: the steps, and what the best model finds for the validation images among the
    labelled ones.
    """
    cfg, net = model.open()
    queries, gallery = without_groups(images.validation), without_groups(images.labelled)
    asked, vectors, rejects = embedding.in_memory(cfg, net, queries)
    refuse_missing_queries(queries, asked, rejects)
    found, known, rejects = embedding.in_memory(cfg, net, gallery)
    name_rejects(out.parent, rejects)
    gallery = [gallery[number] for number in found]
    truth = GroundTruth.from_items(queries, gallery)
    ranking = build(SHOWN, SEARCHERS)(
        Embeddings(truth.query_ids, vectors), Embeddings(truth.gallery_ids, known)
    )
    files = [{item.id: item.path for item in side} for side in (queries, gallery)]
    page(
        ranking,
        truth,
        evaluate(ranking, truth, list(METRICS)),
        images=ImageSources(*files),
        out=out,
        layout=PageLayout(title=title, steps=rows),
    )
