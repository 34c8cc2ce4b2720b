"""An ablation file: a recipe, and the changes whose worth is measured one after the other."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from msgspec import field

from ...config import recipe
from ...config.keys import today_key
from ...config.nested import flatten, get_value
from ...config.sources import Setting, flat_settings, overrides
from ...errors import UsageError
from ...io.paths import PathLike
from ...io.spec_reader import Calls, Spec, check_calls, read_spec
from ...io.yaml_lines import Document
from ...registry import CLASS_METRICS, METRICS
from ..plan.spec import find_beside
from .blend import Blend, BlendSpec, read_blend

from fastreid.config import CfgNode

Opts = tuple[Any, ...]
Settings = dict[str, Setting]  # key -> what sets it last


class StepSpec(Spec, frozen=True, kw_only=True):
    """One entry of STEPS as it stands in the file; see `read_ablation`."""

    NOUN: ClassVar[str] = "a step"
    name: str
    set: dict[str, Any] = {}
    add: dict[str, Any] = {}
    alone: bool = False
    over: str = ""
    plan: str = ""
    ensemble: dict[str, float] | None = None
    blend: BlendSpec | None = None

    @property
    def joins(self) -> bool:
        """Whether earlier steps answer together and nothing is trained."""
        return self.ensemble is not None or self.blend is not None


class LengthSpec(Spec, frozen=True, kw_only=True):
    """SHORT or LONG as it stands in the file; see `read_ablation`."""

    NOUN: ClassVar[str] = "a setting"
    seeds: tuple[int, ...] | None = None
    set: dict[str, Any] = {}
    steps: dict[str, dict[str, Any]] = {}


class AblationSpec(Spec, frozen=True, kw_only=True):
    """An ablation as it stands in the file; see `read_ablation`."""

    NOUN: ClassVar[str] = "an ablation"
    RENAMED: ClassVar[Mapping[str, str]] = {"FIGURES": "CLASS_METRICS"}
    name: str = ""
    base: str = ""
    seeds: tuple[int, ...] = (0,)
    metrics: Calls = ()
    class_metrics: Calls = ()
    changes: dict[str, Any] = field(default_factory=dict, name="SET")
    short: LengthSpec = LengthSpec()
    long: LengthSpec = LengthSpec()
    steps: tuple[StepSpec, ...] = ()


@dataclasses.dataclass(frozen=True)
class AblationStep:
    """One row of the table.

    Args:
        name: its heading, "+ warm-up".
        config: the recipe file; for a plan, that of its last step.
        opts: KEY, VALUE, KEY, VALUE … : all changes to the recipe, those of the steps before
            included.
        plan: a plan that trains the model instead of the recipe alone, "" for none.
        before: number of the step it is compared with; None for the first.
        members: numbers and weights of the earlier steps whose models answer together; () for a
            model of its own.
        blend: how, when they answer by a blend of their probabilities instead of under one
            classifier.
    """

    name: str
    config: str
    opts: Opts
    plan: str = ""
    before: int | None = None
    members: tuple[tuple[int, float], ...] = ()
    blend: Blend | None = None


@dataclasses.dataclass(frozen=True)
class Ablation:
    """What an ablation file says, with the short or the long setting.

    Args:
        title: heading of the page.
        seeds: every step is trained once with each.
        metrics: call strings of METRICS.
        class_metrics: call strings of CLASS_METRICS. With both empty SEEK.METRICS and
            SEEK.CLASS_METRICS of the recipe are taken.
        steps: in order.
    """

    title: str
    seeds: tuple[int, ...]
    metrics: tuple[str, ...]
    class_metrics: tuple[str, ...]
    steps: tuple[AblationStep, ...]


def read_ablation(path: PathLike, long: bool = False, opts: Sequence[Any] = ()) -> Ablation:
    """Read an ablation file and try all of its recipes.

        NAME: heading                     BASE: recipe, relative to this file
        SEEDS: [0]                        METRICS: ["recall(1)", "map"] and/or CLASS_METRICS: ["top(1)"]
        SET: {KEY: VALUE}                 for all steps
        SHORT, LONG:                      the two settings, after the above
          SEEDS: …
          SET: …
          STEPS: {"+ erasing": {KEY: VALUE}}   for the SET of single steps
        STEPS:
          - NAME: "+ erasing"
            SET: {KEY: VALUE}             from this step on
            ADD: {KEY: [calls]}           the same at the end of a list
            ALONE: true                   the next step is without these again
            OVER: "+ warm-up"             the earlier step it is compared with, instead of the one before
            PLAN: plan                    train by a plan, whose steps get all of these changes; images are then
                                          embedded as BASE says, which is its last step's recipe; of a plan of
                                          rounds (tools/grow.py) the model of the last round counts
            ENSEMBLE: {"+ erasing": 1.0}  no training: these earlier steps, weighted, under one classifier fitted anew
            BLEND: {OF: [steps], EVOLVE: de, PRIOR: step}   no training: the mean of what earlier steps say, with
                                          weights evolved on the other half of the images, times a prior of place

    Args:
        path: the file.
        long: the long setting instead of the short one.
        opts: KEY VALUE changes to every step, above all others.

    Raises:
        UsageError: the file, a key, a value or the recipe of a step is wrong; names the file and the line.
    """
    spec, document = read_spec(path, AblationSpec)
    check_calls(document, "METRICS", spec.metrics, METRICS)
    check_calls(document, "CLASS_METRICS", spec.class_metrics, CLASS_METRICS)
    if not spec.steps or not spec.base:
        raise UsageError(f"{document.path}: BASE (a recipe) and STEPS (a list) are needed")
    return Ablation(
        title=spec.name or pathlib.Path(path).stem,
        seeds=_seeds(document, spec, long),
        metrics=spec.metrics,
        class_metrics=spec.class_metrics,
        steps=_Reader(document, spec, "LONG" if long else "SHORT", opts).steps(),
    )


def _seeds(document: Document, spec: AblationSpec, long: bool) -> tuple[int, ...]:
    own, key = (spec.long.seeds, "LONG.SEEDS") if long else (spec.short.seeds, "SHORT.SEEDS")
    for seeds, place in ((spec.seeds, "SEEDS"), (own, key)):
        if seeds is None:
            continue
        if not seeds or min(seeds) < 0 or len(set(seeds)) < len(seeds):
            told = f"{place} must be different whole numbers of 0 or more, got {list(seeds)}"
            raise document.error(place, told)
    return spec.seeds if own is None else own


class _Reader:
    """The steps of an ablation file, each with all changes that reach it.

    Args:
        document, spec: the file.
        length: "LONG" or "SHORT".
        opts: KEY VALUE changes to every step, above all others.
    """

    def __init__(
        self, document: Document, spec: AblationSpec, length: str, opts: Sequence[Any]
    ) -> None:
        self.document, self.spec, self.length, self.opts = document, spec, length, opts
        self.config = find_beside(document, spec.base)
        self.made: list[AblationStep] = []
        self._check_lengths()

    def _check_lengths(self) -> None:
        names = [step.name for step in self.spec.steps]
        own = self.spec.long if self.length == "LONG" else self.spec.short
        for name in own.steps:
            if name not in names:
                told = f"{name!r}: expected the name of a step; steps: {', '.join(names)}"
                raise self.document.error(f"{self.length}.STEPS.{name}", told)

    def steps(self) -> tuple[AblationStep, ...]:
        """Read all of them in order."""
        kept, before = self._first(), None
        for number, one in enumerate(self.spec.steps):
            changed = self._change(kept, number)
            self.made.append(self._step(number, changed, before))
            if not one.alone:
                kept, before = changed, number
            elif before is None:
                before = number
        return tuple(self.made)

    def _first(self) -> Settings:
        """What holds for all steps."""
        settings = [*self._settings("SET."), *self._settings(f"{self.length}.SET.")]
        spec, where = self.spec, self.document.path
        if spec.metrics or spec.class_metrics:
            settings.append(Setting("SEEK.METRICS", list(spec.metrics), where, 0))
        if spec.class_metrics:
            calls = list(spec.class_metrics)
            settings.append(Setting("SEEK.CLASS_METRICS", calls, where, 0))
        return {one.key: one for one in settings}

    def _settings(self, prefix: str) -> list[Setting]:
        return flat_settings(self.document, prefix)

    def _change(self, kept: Settings, number: int) -> Settings:
        """The changes so far and those of a step."""
        prefix, one = f"STEPS[{number}]", self.spec.steps[number]
        own = [*self._settings(f"{prefix}.SET."), *self._of_length(one.name)]
        changed = {**kept, **{setting.key: setting for setting in own}}
        for added in self._settings(f"{prefix}.ADD."):
            key = added.key
            there = changed[key].value if key in changed else self._recipe_value(added)
            if not isinstance(there, list | tuple) or not isinstance(added.value, list):
                told = f"both {there!r} and {added.value!r} must be lists"
                raise UsageError(f"{added.where}: ADD {key}: {told}")
            changed[key] = dataclasses.replace(added, value=[*there, *added.value])
        return changed

    def _of_length(self, name: str) -> list[Setting]:
        """What SHORT or LONG changes in one step."""
        own = self.spec.long if self.length == "LONG" else self.spec.short
        prefix, lines = f"{self.length}.STEPS.{name}.", self.document.lines
        changes = flatten(own.steps.get(name, {}))
        path = self.document.path
        return [
            Setting(today_key(key), value, path, lines[f"{prefix}{key}"])
            for key, value in changes.items()
        ]

    def _recipe_value(self, added: Setting) -> Any:
        try:
            return get_value(recipe.load(self.config), added.key)
        except KeyError as error:
            raise UsageError(f"{added.where}: ADD {added.key}: there is no such key") from error

    def _step(self, number: int, changed: Settings, before: int | None) -> AblationStep:
        one, key = self.spec.steps[number], f"STEPS[{number}]"
        where = self.document.where(key)
        if one.name in [step.name for step in self.made]:
            raise UsageError(f"{where}: two steps are called {one.name!r}: names must differ")
        cfg = self._load(one.name, where, changed)
        _check_figures(cfg, one, where)
        given = {one.key: one.value for one in overrides(self.opts)}
        values = {key: setting.value for key, setting in changed.items()} | given
        opts = tuple(part for pair in values.items() for part in pair)
        compared = self._compared_with(one, key, before)
        step = AblationStep(one.name, self.config, opts, self._plan(one, key), compared)
        return self._join(step, one, where)

    def _compared_with(self, one: StepSpec, key: str, before: int | None) -> int | None:
        """The number of the step whose figures a step's gain is counted from."""
        if not one.over:
            return before
        names = [step.name for step in self.made]
        if one.over in names:
            return names.index(one.over)
        told = (
            f"OVER {one.over!r}: expected the name of an earlier step; they are {', '.join(names)}"
        )
        raise self.document.error(f"{key}.OVER", told)

    def _load(self, name: str, where: str, changed: Settings) -> CfgNode:
        try:
            return recipe.load(self.config, self.opts, list(changed.values()))
        except UsageError as error:
            raise UsageError(f"{where}: step {name!r}: {error}") from error

    def _plan(self, one: StepSpec, key: str) -> str:
        path = find_beside(self.document, one.plan) if one.plan else ""
        if path and not os.path.isfile(path):
            told = f"PLAN {one.plan} is not there; looked for {path}"
            raise self.document.error(f"{key}.PLAN", told)
        return path

    def _join(self, step: AblationStep, one: StepSpec, where: str) -> AblationStep:
        """The step with its members, if it has no model of its own."""
        if one.blend is None:
            return dataclasses.replace(step, members=self._members(one, where))
        if one.ensemble is not None or one.plan:
            raise UsageError(f"{where}: BLEND trains nothing: leave PLAN and ENSEMBLE out")
        how, numbers = read_blend(one.blend, [earlier.name for earlier in self.made], where)
        members = tuple((number, 1.0) for number in numbers)
        return dataclasses.replace(step, blend=how, members=members)

    def _members(self, one: StepSpec, where: str) -> tuple[tuple[int, float], ...]:
        """The steps of an ensemble and their weights."""
        if one.ensemble is None:
            return ()
        numbers = {step.name: number for number, step in enumerate(self.made) if not step.members}
        wrong = [
            f"{name}: {weight}"
            for name, weight in one.ensemble.items()
            if name not in numbers or weight <= 0
        ]
        if wrong or len(one.ensemble) < 2 or one.plan:
            raise UsageError(
                f"{where}: ENSEMBLE must be a mapping of two or more earlier steps to positive"
                f" weights, without a PLAN{'; wrong: ' + ', '.join(wrong) if wrong else ''}"
            )
        return tuple((numbers[name], float(weight)) for name, weight in one.ensemble.items())


def _check_figures(cfg: CfgNode, one: StepSpec, where: str) -> None:
    """Check that there is something a step can be compared by."""
    seek, name = cfg.SEEK, one.name
    if not (seek.METRICS or seek.CLASS_METRICS) or not cfg.DATASETS.TESTS:
        raise UsageError(
            f"{where}: step {name!r}: SEEK.METRICS and SEEK.CLASS_METRICS, or DATASETS.TESTS, are"
            " empty, so there is nothing to compare"
        )
    if one.joins and (seek.METRICS or not seek.CLASS_METRICS):
        raise UsageError(
            f"{where}: step {name!r}: an ENSEMBLE or BLEND classifies, so it is compared by CLASS_METRICS"
            " alone"
        )
