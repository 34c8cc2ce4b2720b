"""An ablation file: a recipe, and the changes whose worth is measured one after the other."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from ...config import recipe
from ...config.keys import today_key
from ...config.nested import flatten
from ...config.schema import LIST, MAP, SWITCH, WORD, check_keys, checked_calls
from ...config.sources import overrides
from ...errors import UsageError
from ...io.paths import PathLike
from ...io.yaml_lines import Document, read_yaml
from ...registry import CLASS_METRICS, METRICS
from .blend import Blend, read_blend

KEYS = {
    "NAME": WORD,
    "BASE": WORD,
    "SEEDS": LIST,
    "METRICS": LIST,
    "CLASS_METRICS": LIST,
    "FIGURES": LIST,  # its name in version 0.1
    "SET": MAP,
    "SHORT": MAP,
    "LONG": MAP,
    "STEPS": LIST,
}
SETTING = {"SEEDS": LIST, "SET": MAP, "STEPS": MAP}
STEP = {
    "NAME": WORD,
    "SET": MAP,
    "ADD": MAP,
    "ALONE": SWITCH,
    "PLAN": WORD,
    "ENSEMBLE": MAP,
    "BLEND": MAP,
}
Opts = tuple[Any, ...]


@dataclasses.dataclass(frozen=True)
class AblationStep:
    """One row of the table.

    Args:
        name: its heading, "+ warm-up".
        config: the recipe file; for a plan, that of its last step.
        opts: KEY, VALUE, KEY, VALUE … : all changes to the recipe, those of the steps before included.
        plan: a plan that trains the model instead of the recipe alone, "" for none.
        before: number of the step it is compared with; None for the first.
        members: numbers and weights of the earlier steps whose models answer together; () for a model of its own.
        blend: how, when they answer by a blend of their probabilities instead of under one classifier.
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
        figures: call strings of CLASS_METRICS. With both empty SEEK.METRICS and SEEK.CLASS_METRICS of the recipe are taken.
        steps: in order.
    """

    title: str
    seeds: tuple[int, ...]
    metrics: tuple[str, ...]
    figures: tuple[str, ...]
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
            PLAN: plan                    train by a plan, whose steps get all of these changes; photos are then
                                          embedded as BASE says, which is its last step's recipe; of a plan of
                                          rounds (tools/grow.py) the model of the last round counts
            ENSEMBLE: {"+ erasing": 1.0}  no training: these earlier steps, weighted, under one classifier fitted anew
            BLEND: {OF: [steps], EVOLVE: de, PRIOR: step}   no training: the mean of what earlier steps say, with
                                          weights evolved on the other half of the photos, times a prior of place

    Args:
        path: the file.
        long: the long setting instead of the short one.
        opts: KEY VALUE changes to every step, above all others.

    Raises:
        UsageError: the file, a key, a value or the recipe of a step is wrong; names the file and the line.
    """
    document = read_yaml(path)
    check_keys(document, document.values, KEYS)
    chosen = document.values.get("LONG" if long else "SHORT", {})
    check_keys(document, chosen, SETTING, "LONG." if long else "SHORT.")
    metrics, figures = (
        checked_calls(document, key, document.values.get(key, []), registry)
        for key, registry in (("METRICS", METRICS), (_class_metrics(document), CLASS_METRICS))
    )
    first = {**_settings(document.values.get("SET", {})), **_settings(chosen.get("SET", {}))}
    if metrics or figures:
        first |= {"SEEK.METRICS": list(metrics)} | (
            {"SEEK.CLASS_METRICS": list(figures)} if figures else {}
        )
    given = {setting.key: setting.value for setting in overrides(opts)}
    return Ablation(
        document.values.get("NAME", pathlib.Path(path).stem),
        _seeds(document, chosen, long),
        metrics,
        figures,
        _steps(document, first, _by_step(document, chosen, long), given),
    )


def _class_metrics(document: Document) -> str:
    """The key that holds the class metrics: CLASS_METRICS, or FIGURES as version 0.1 called it.

    Raises:
        UsageError: both stand there.
    """
    if "FIGURES" not in document.values:
        return "CLASS_METRICS"
    if "CLASS_METRICS" in document.values:
        raise UsageError(
            f"{document.where('FIGURES')}: FIGURES is the old name of CLASS_METRICS: keep one"
        )
    return "FIGURES"


def _by_step(
    document: Document, chosen: Mapping[str, Any], long: bool
) -> dict[str, dict[str, Any]]:
    """What the setting changes in single steps."""
    made, setting = chosen.get("STEPS", {}), "LONG" if long else "SHORT"
    names = [one.get("NAME") for one in document.values.get("STEPS", []) if isinstance(one, dict)]
    for name, changes in made.items():
        where = document.where(f"{setting}.STEPS.{name}")
        if name not in names or not isinstance(changes, dict):
            raise UsageError(
                f"{where}: {name!r}: expected the name of a step and a mapping of keys; steps: "
                f"{', '.join(map(str, names))}"
            )
    return {name: _settings(changes) for name, changes in made.items()}


def _seeds(document: Document, chosen: Mapping[str, Any], long: bool) -> tuple[int, ...]:
    made: tuple[int, ...] = (0,)
    for values, prefix in ((document.values, ""), (chosen, "LONG." if long else "SHORT.")):
        if "SEEDS" in values:
            key = f"{prefix}SEEDS"
            made = _check_seeds(values["SEEDS"], key, document.where(key))
    return made


def _check_seeds(seeds: list[Any], key: str, where: str) -> tuple[int, ...]:
    legal = all(
        isinstance(seed, int) and not isinstance(seed, bool) and seed >= 0 for seed in seeds
    )
    if not seeds or not legal or len(set(seeds)) < len(seeds):
        raise UsageError(
            f"{where}: {key} must be different whole numbers of 0 or more, got {seeds!r}"
        )
    return tuple(seeds)


def _settings(values: Mapping[str, Any]) -> dict[str, Any]:
    """Nested keys as dotted ones, by their names of today."""
    return {today_key(key): value for key, value in flatten(values).items()}


def _steps(
    document: Document,
    first: Mapping[str, Any],
    special: Mapping[str, Mapping[str, Any]],
    given: Mapping[str, Any],
) -> tuple[AblationStep, ...]:
    listed, base = document.values.get("STEPS", []), document.values.get("BASE", "")
    if not listed or not base:
        raise UsageError(f"{document.path}: BASE (a recipe) and STEPS (a list) are needed")
    config = os.path.normpath(pathlib.Path(document.path).parent / os.path.expanduser(base))
    made: list[AblationStep] = []
    kept, before = dict(first), None
    for number, one in enumerate(listed):
        where = document.where(f"STEPS[{number}]")
        if not isinstance(one, dict) or "NAME" not in one:
            raise UsageError(f"{where}: a step is a mapping with a NAME, got {one!r}")
        check_keys(document, one, STEP, f"STEPS[{number}].")
        if one["NAME"] in [step.name for step in made]:
            raise UsageError(f"{where}: two steps are called {one['NAME']!r}: names must differ")
        changed = _changed_settings(
            kept,
            {**one, "SET": {**_settings(one.get("SET", {})), **special.get(one["NAME"], {})}},
            config,
            where,
        )
        step = _step(document, one, config, {**changed, **given}, before, where)
        made.append(_together(step, one, made, where))
        if not one.get("ALONE"):
            kept, before = changed, number
        elif before is None:
            before = number
    return tuple(made)


def _together(
    step: AblationStep, one: Mapping[str, Any], made: Sequence[AblationStep], where: str
) -> AblationStep:
    """The step with its members, if it has no model of its own."""
    if "BLEND" not in one:
        return dataclasses.replace(step, members=_members(one, made, where))
    if {"ENSEMBLE", "PLAN"} & set(one):
        raise UsageError(f"{where}: BLEND trains nothing: leave PLAN and ENSEMBLE out")
    how, numbers = read_blend(one["BLEND"], [earlier.name for earlier in made], where)
    return dataclasses.replace(step, blend=how, members=tuple((number, 1.0) for number in numbers))


def _members(
    one: Mapping[str, Any], made: Sequence[AblationStep], where: str
) -> tuple[tuple[int, float], ...]:
    """The steps of an ensemble and their weights."""
    numbers = {step.name: number for number, step in enumerate(made) if not step.members}
    wrong = [
        f"{name}: {weight}"
        for name, weight in one.get("ENSEMBLE", {}).items()
        if name not in numbers
        or isinstance(weight, bool)
        or not isinstance(weight, int | float)
        or weight <= 0
    ]
    if wrong or ("ENSEMBLE" in one and (len(one["ENSEMBLE"]) < 2 or "PLAN" in one)):
        raise UsageError(
            f"{where}: ENSEMBLE must be a mapping of two or more earlier steps to positive weights,"
            f" without a PLAN{'; wrong: ' + ', '.join(wrong) if wrong else ''}"
        )
    return tuple((numbers[name], float(weight)) for name, weight in one.get("ENSEMBLE", {}).items())


def _changed_settings(
    kept: Mapping[str, Any], one: Mapping[str, Any], config: str, where: str
) -> dict[str, Any]:
    """The changes so far and those of this step."""
    changed = {**kept, **_settings(one.get("SET", {}))}
    for key, calls in _settings(one.get("ADD", {})).items():
        there = changed[key] if key in changed else _of_recipe(config, key, where)
        if not isinstance(there, list | tuple) or not isinstance(calls, list):
            raise UsageError(f"{where}: ADD {key}: both {there!r} and {calls!r} must be lists")
        changed[key] = [*there, *calls]
    return changed


def _of_recipe(config: str, key: str, where: str) -> Any:
    node: Any = recipe.load(config)
    for part in key.split("."):
        if part not in node:
            raise UsageError(f"{where}: ADD {key}: there is no such key")
        node = node[part]
    return node


def _step(
    document: Document,
    one: Mapping[str, Any],
    config: str,
    changed: Mapping[str, Any],
    before: int | None,
    where: str,
) -> AblationStep:
    opts = tuple(part for pair in changed.items() for part in pair)
    try:
        cfg = recipe.load(config, opts)
    except UsageError as error:
        raise UsageError(f"{where}: step {one['NAME']!r}: {error}") from error
    if not (cfg.SEEK.METRICS or cfg.SEEK.CLASS_METRICS) or not cfg.DATASETS.TESTS:
        raise UsageError(
            f"{where}: step {one['NAME']!r}: SEEK.METRICS and SEEK.CLASS_METRICS, or DATASETS.TESTS, are"
            " empty, so there is nothing to compare"
        )
    if {"ENSEMBLE", "BLEND"} & set(one) and (cfg.SEEK.METRICS or not cfg.SEEK.CLASS_METRICS):
        raise UsageError(
            f"{where}: step {one['NAME']!r}: an ENSEMBLE or BLEND classifies, so it is "
            "compared by CLASS_METRICS alone"
        )
    plan = one.get("PLAN", "")
    if plan:
        plan = os.path.normpath(pathlib.Path(document.path).parent / os.path.expanduser(plan))
    if plan and not os.path.isfile(plan):
        raise UsageError(f"{where}: PLAN {one['PLAN']} is not there; looked for {plan}")
    return AblationStep(one["NAME"], config, opts, plan, before)
