"""What a plan of rounds says: the plan, its steps, and which step can stand where."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from ...config import recipe
from ...config.sources import Setting
from ...errors import UsageError
from ..plan.spec import NONE, PREVIOUS

NEEDS = {
    "embed": ("train",),
    "classify": ("train",),
    "cluster": ("embed",),
    "recluster": ("embed",),
    "select": ("cluster", "recluster"),
    "pseudo": ("classify",),
}  # one of which comes before
LABELLED = "labelled"
WEIGHTS = (".safetensors", ".pth", ".pt")


@dataclasses.dataclass(frozen=True)
class GrowStep:
    """One step of a round.

    Args:
        name: its folder.
        kind: train, embed, classify, cluster, select, pseudo or recluster.
        values: its keys.
        settings: what it changes in the recipe.
        recipe: the recipe file of a training.
        once: it belongs to the first round only.
        where: file and line.
    """

    name: str
    kind: str
    values: Mapping[str, Any]
    settings: tuple[Setting, ...]
    recipe: str
    once: bool
    where: str

    @property
    def photos(self) -> tuple[str, ...]:
        """What a training learns from: "labelled" and names of steps."""
        return tuple(self.values.get("PHOTOS", [LABELLED]))

    @property
    def source(self) -> str:
        """ "previous", "none", the name of a training or a weight file."""
        return self.values.get("FROM", PREVIOUS)


@dataclasses.dataclass(frozen=True)
class RoundsPlan:
    """What a plan of rounds says.

    Args:
        path: the file.
        name: heading.
        seed: of everything drawn.
        data: the keys of DATA.
        rounds: how many at most.
        gain: rounds end when one gains less, a share.
        changed: ... when less of the pseudo labels changed, a share; 0 for never.
        figures: call strings of CLASS_METRICS; the first is the one a gain is measured in.
        steps: of a round, in order.
    """

    path: str
    name: str
    seed: int
    data: Mapping[str, Any]
    rounds: int
    gain: float
    changed: float
    figures: tuple[str, ...]
    steps: tuple[GrowStep, ...]


def check_order(step: GrowStep, before: Sequence[GrowStep]) -> None:
    """Check that what a step rests on comes before it, and that the recipe of a training is legal.

    Raises:
        UsageError: it does not, or is not; names file and line.
    """
    kinds = {one.kind for one in before}
    if step.kind in NEEDS and not kinds & set(NEEDS[step.kind]):
        raise UsageError(
            f"{step.where}: {step.kind} needs a step before it that does"
            f" {' or '.join(NEEDS[step.kind])}"
        )
    if step.kind == "pseudo" and step.values.get("PROTOTYPE", 5) and "embed" not in kinds:
        raise UsageError(
            f"{step.where}: the prototype test needs an embed step before it (or PROTOTYPE: 0)"
        )
    choices = [one.name for one in before if one.kind in ("select", "pseudo")]
    if step.kind == "recluster" and step.values.get("PHOTOS", choices and choices[0]) not in (
        *choices,
        [],
    ):
        raise UsageError(
            f"{step.where}: PHOTOS {step.values['PHOTOS']!r} is no select or pseudo step before it"
        )
    if step.kind != "train":
        return
    unknown = [name for name in step.photos if name not in (LABELLED, *choices)]
    if unknown or not step.photos:
        raise UsageError(
            f"{step.where}: PHOTOS are {LABELLED} or select and pseudo steps before "
            f"({', '.join(choices) or 'there is none'}), got {list(step.photos)}"
        )
    if step.source not in (NONE, PREVIOUS) and pathlib.Path(step.source).suffix not in WEIGHTS:
        named = [one.name for one in before if one.kind == "train"]
        if step.source not in named:
            raise UsageError(
                f"{step.where}: FROM {step.source!r} is no training before it ({', '.join(named)}),"
                " no weight file, and neither none nor previous"
            )
    recipe.load(step.recipe, (), step.settings)
