"""What `tools/grow.py` does: round after round until one gains too little, then the table and the
page.
"""

from __future__ import annotations

import logging
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...distributed.run_lock import hold_run_folder
from ...errors import UsageError
from ...inference import embedding
from ...io.code_version import current_commit
from ...io.json_files import write_json
from ...io.paths import PathLike
from ...io.stage_record import Stage
from ...io.text_table import table
from ...metrics import evaluate
from ...registry import SEARCHERS, build
from ...report import page, write_results
from ...structures import Embeddings, GroundTruth
from ...structures.splits import refuse_missing_queries
from ...training.run_setup import start_log
from . import models as models
from .images import ImagePools, image_pools_of, without_groups
from .round import Round
from .spec import read_rounds
from .steps import RoundsPlan

logger = logging.getLogger("fastreid.fastseek")
SHOWN = "exact(k=20)"
METRICS = ("recall(1)", "map")


def run_rounds(file: PathLike, out: PathLike, short: bool = False, opts: Sequence[Any] = ()) -> str:
    """Run a plan of rounds; what is finished is not done again, a killed training or embedding goes
    on.

    Writes below `out`: round1/<step>/ … with every artefact named by its round, results.json (one
        row a step, in
    order), rounds.json (what every round reached, why it ended, the best weights) and report.html.

    Args:
        file: see `rounds_plan.read_rounds`.
        out: the folder of the run.
        short: with the plan's SHORT.
        opts: KEY VALUE changes to every training.

    Returns:
        the table as text, why it ended, and the path of the page.

    Raises:
        UsageError: the plan is wrong, or wants to learn from test photos; told before anything is
            trained.
        DataError: photos are missing. FastSeekError: as a training does; what is finished stays.
    """
    plan, out = read_rounds(file, short), pathlib.Path(out)
    if not any(step.kind == "train" for step in plan.steps):
        raise UsageError(f"{plan.path}: no step trains")
    with hold_run_folder(out):
        start_log(str(out))
        photos = image_pools_of(plan, out)
        logger.info(
            "%d photos with a label, %d without, %d to validate with",
            len(photos.labelled),
            len(photos.unlabelled),
            len(photos.validation),
        )
        run = _Run(plan, photos, out, opts)
        run.go()
        start_log(str(out))
        write_results(out / "results.json", run.rows, current_commit(), plan.seed)
        write_json(out / "rounds.json", run.told())
        _show(run.best, photos, run.rows, plan.name, out / "report.html")
    return "\n".join(
        [
            table(run.rows),
            "",
            run.why,
            f"best: {run.best.weights}",
            f"page: {out / 'report.html'}",
        ]
    )


class _Run:
    """All rounds of a plan."""

    def __init__(
        self, plan: RoundsPlan, photos: ImagePools, out: pathlib.Path, opts: Sequence[Any]
    ) -> None:
        self.plan, self.photos, self.out, self.opts = plan, photos, out, opts
        self.rows: list[dict[str, Any]] = []
        self.reached: list[
            tuple[int, float, Stage]
        ] = []  # round (0 before the first), figure, last training
        self.changes: dict[int, float] = {}
        self.why = f"all {plan.rounds} rounds are done"

    def go(self) -> None:
        """Do the rounds."""
        last: dict[str, Stage] = {}
        for number in range(1, self.plan.rounds + 1):
            one = Round(self.plan, self.photos, self.out, number, last, self.opts)
            if not self._round(one, number):
                break
            last = one.desk.last
        self.best = models.latest_training(
            max(self.reached, key=lambda entry: (entry[1], -entry[0]))[2].folder
        )

    def _round(self, one: Round, number: int) -> bool:
        """Do a round; whether another may follow."""
        figures: list[tuple[float, Stage]] = []
        for step in self.plan.steps:
            if step.once and number > 1:
                continue
            stage = one.do(step)
            self.rows.append(dict(stage.results["row"]))
            found = _figure(stage)
            if found is not None:
                figures.append((found, stage))
                if not self.reached:
                    self.reached.append((0, *figures[-1]))
            if self._settled(number, stage):
                self.why = (
                    f"round {number} changed {self.changes[number]:.2%} of the pseudo labels, less"
                    f" than {self.plan.changed:.2%}: it ended there"
                )
                return False
        if not figures:
            raise UsageError(
                f"{self.plan.path}: no training of round {number} can be validated: its last one"
                " must be of the labelled classes"
            )
        before = self.reached[-1][1]
        self.reached.append((number, *figures[-1]))
        gain = figures[-1][0] - before
        if number < self.plan.rounds and gain < self.plan.gain:
            self.why = (
                f"round {number} gained {100 * gain:.2f} points, less than"
                f" {100 * self.plan.gain:.2f}: it ended"
            )
            return False
        return True

    def _settled(self, number: int, stage: Stage) -> bool:
        if "changed" in stage.results and stage.results["kind"] == "pseudo":
            self.changes[number] = float(stage.results["changed"])
            return number > 1 and self.changes[number] < self.plan.changed
        return False

    def told(self) -> dict[str, Any]:
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
            "labelled": len(self.photos.labelled),
            "unlabelled": len(self.photos.unlabelled),
            "validation": len(self.photos.validation),
            "outside": _outside(self.photos),
        }


def _figure(stage: Stage) -> float | None:
    """The first figure of a training whose classes are the validation's."""
    figures = stage.results["row"]["metrics"]
    if stage.results["kind"] != "train" or set(figures) <= {models.PROTOTYPE}:
        return None
    return float(stage.results["figure"])


def _outside(photos: ImagePools) -> float | None:
    """Share of the unlabelled photos of none of the known classes, where that is known."""
    if not photos.measurable:
        return None
    return float(
        np.mean([photos.truth[item.id] not in set(photos.classes) for item in photos.unlabelled])
    )


def _show(
    model: models.Model,
    photos: ImagePools,
    rows: Sequence[dict[str, Any]],
    title: str,
    out: pathlib.Path,
) -> None:
    """The page: the steps, and what the best model finds for the validation photos among the
    labelled ones.
    """
    cfg, net = model.open()
    queries, gallery = without_groups(photos.validation), without_groups(photos.labelled)
    asked, vectors, rejects = embedding.in_memory(cfg, net, queries)
    refuse_missing_queries(queries, asked, rejects)
    found, known, _ = embedding.in_memory(cfg, net, gallery)
    gallery = [gallery[number] for number in found]
    truth = GroundTruth.from_items(queries, gallery)
    ranking = build(SHOWN, SEARCHERS)(
        Embeddings(truth.query_ids, vectors), Embeddings(truth.gallery_ids, known)
    )
    files = {item.id: item.path for item in (*queries, *gallery)}
    page(
        ranking,
        truth,
        evaluate(ranking, truth, list(METRICS)),
        images=files,
        out=out,
        title=title,
        steps=rows,
    )
