"""A plan file: recipes trained one after the other, each from what the one before has learned."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import re
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from msgspec import field

from ...config import recipe
from ...config.edits import replace_values
from ...config.solver_values import phase_epochs
from ...config.sources import Setting, flat_settings
from ...errors import UsageError
from ...io.paths import PathLike
from ...io.spec_reader import Spec, check_name, read_spec
from ...io.text_table import align_columns
from ...io.yaml_lines import Document

from fastreid.config import CfgNode

NONE, PREVIOUS = "none", "previous"
TAKEN = {"final": "model_final.safetensors", "best": "model_best.safetensors"}
WEIGHTS = (".safetensors", ".pth", ".pt")
OWN = ("OUTPUT_DIR",)  # keys the plan itself gives every step


class StepSpec(Spec, frozen=True, kw_only=True):
    """One entry of STEPS as it stands in the file; see `read_plan`."""

    NOUN: ClassVar[str] = "a step"
    name: str
    note: str = ""
    recipe: str = ""
    set: dict[str, Any] = {}
    source: str = field(default="", name="FROM")
    take: Literal["final", "best"] = "final"
    drop: tuple[str, ...] = ()
    strict: bool = False
    grow: bool = False


class PlanSpec(Spec, frozen=True, kw_only=True):
    """A plan as it stands in the file; see `read_plan`."""

    NOUN: ClassVar[str] = "a plan"
    name: str = ""
    note: str = ""
    recipe: str = ""
    set: dict[str, Any] = {}
    steps: tuple[StepSpec, ...] = ()


@dataclasses.dataclass(frozen=True)
class PlanStep:
    """One training of a plan.

    Args:
        name: its folder.
        recipe: the recipe file.
        settings: what the plan changes in it, the last of a key holds.
        source: "none", the name of an earlier step, or a weight file.
        take: "final" or "best", the weights of that step.
        drop: parts of the names of what is not taken over.
        fit: SEEK.FIT of the step; "" leaves the recipe's.
        where: file and line of the step.
        note: what the plan says of it.
    """

    name: str
    recipe: str
    settings: tuple[Setting, ...]
    source: str
    take: str
    drop: tuple[str, ...]
    fit: str
    where: str
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a plan file says: its path, its name and its steps in order."""

    path: str
    name: str
    steps: tuple[PlanStep, ...]


def read_plan(file: PathLike) -> Plan:
    """Read a plan.

        NAME: dolg_b7                     names the folder of the results
        RECIPE: ../configs/dolg_b7.yml    of the steps that name none; relative to the plan
        SET: {KEY: VALUE}                 for all steps
        STEPS:
          - NAME: medium
            RECIPE: ../configs/other.yml
            SET: {SOLVER.BASE_LR: 1e-4}   above the recipe and the plan's own SET
            FROM: previous                or none, the NAME of an earlier step, or a weight file; previous when not
                                          given, for the first step none (its recipe's MODEL.WEIGHTS)
            TAKE: final                   or best: the weights of that step with the best evaluation
            DROP: ["losses."]             what has one of these in its name is not taken over
            STRICT: true                  all else must fit; without it what does not fit is left and listed
            GROW: true                    the model may have more than the weights, but not less
            NOTE: where these numbers come from

    Raises:
        UsageError: the file cannot be read, or a key or value is wrong; names the file and the
            line.
    """
    spec, document = read_spec(file, PlanSpec)
    name = spec.name or pathlib.Path(file).stem
    check_name(document, "NAME", name)
    if not spec.steps:
        raise document.error("STEPS", "STEPS is missing or empty: a plan has at least one step")
    steps: list[PlanStep] = []
    for number in range(len(spec.steps)):
        steps.append(_step(document, spec, number, [step.name for step in steps]))
    return Plan(document.path, name, tuple(steps))


def _step(document: Document, spec: PlanSpec, number: int, earlier: list[str]) -> PlanStep:
    prefix, one = f"STEPS[{number}]", spec.steps[number]
    check_name(document, f"{prefix}.NAME", one.name, (NONE, PREVIOUS, *earlier))
    if one.strict and one.grow:
        told = "STRICT and GROW exclude each other: a grown model has more than the weights"
        raise document.error(prefix, told)
    if not all(one.drop):
        raise document.error(f"{prefix}.DROP", f"DROP must be parts of names, got {one.drop!r}")
    settings = (*flat_settings(document, "SET."), *flat_settings(document, f"{prefix}.SET."))
    for setting in settings:
        if setting.key in OWN:
            told = "is the plan's own matter: a step's folder is called as the step"
            raise UsageError(f"{setting.where}: {setting.key} {told}")
    source = _source(document, f"{prefix}.FROM", one.source, earlier)
    return PlanStep(
        name=one.name,
        recipe=find_step_recipe(document, prefix, one.name, one.recipe, spec.recipe),
        settings=settings,
        source=source,
        take=one.take,
        drop=one.drop,
        fit=_fit(one, source),
        where=document.where(prefix),
        note=one.note,
    )


def _fit(one: StepSpec, source: str) -> str:
    """SEEK.FIT of a step; "" leaves the recipe's."""
    if source == NONE:
        return ""
    if one.strict:
        return "all"
    return "grow" if one.grow else "some"


def find_step_recipe(document: Document, prefix: str, step: str, own: str, shared: str) -> str:
    """The recipe of a step, looked for beside the plan.

    Args:
        document: the plan.
        prefix: the key of the step, "STEPS[0]".
        step: its name.
        own, shared: RECIPE of the step and of the plan, "" where it has none.

    Raises:
        UsageError: neither is named, or the file is not there; names the file and the line.
    """
    named = own or shared
    path = find_beside(document, named)
    if not named or not os.path.isfile(path):
        told = f"RECIPE {named!r} of step {step} is not there; looked for {path}"
        raise document.error(f"{prefix}.RECIPE" if own else "RECIPE", told)
    return path


def find_beside(document: Document, name: str) -> str:
    """Where a file lies that a document names relative to itself."""
    return os.path.normpath(pathlib.Path(document.path).parent / os.path.expanduser(name))


def _source(document: Document, key: str, named: str, earlier: list[str]) -> str:
    if not named:
        return earlier[-1] if earlier else NONE
    if named == PREVIOUS:
        if not earlier:
            raise document.error(key, "FROM previous: the first step has none before it")
        return earlier[-1]
    if named in (NONE, *earlier):
        return named
    if not is_weight_file(named):
        raise document.error(
            key,
            f"FROM {named!r} is no earlier step ({', '.join(earlier) or 'there is none'})"
            " and no weight file (.safetensors, .pth)",
        )
    beside = find_beside(document, named)
    return beside if os.path.isfile(beside) else named


def is_weight_file(name: str) -> bool:
    """Whether a name is that of a weight file."""
    return pathlib.Path(name).suffix in WEIGHTS


def configs(plan: Plan, opts: Sequence[Any] = ()) -> list[CfgNode]:
    """The merged recipe of every step, frozen; `opts`, KEY VALUE pairs, are put above all of them.

    Raises:
        UsageError: as `recipe.load`; or a step wants the best weights of one that is not evaluated.
    """
    if any(key in OWN for key in opts[::2]):
        raise UsageError(f"{', '.join(OWN)} is not set in a plan: give its folder with --out")
    made = {step.name: _config(step, opts) for step in plan.steps}
    for step in plan.steps:
        if (
            step.take == "best"
            and step.source in made
            and not len(made[step.source].DATASETS.TESTS)
        ):
            raise UsageError(
                f"{step.where}: TAKE best of {step.source}, which has no DATASETS.TESTS and so no"
                " best"
            )
    return list(made.values())


def _config(step: PlanStep, opts: Sequence[Any]) -> CfgNode:
    cfg = recipe.load(step.recipe, opts, step.settings)
    if not step.fit and not step.drop:
        return cfg
    fit, drop = step.fit or cfg.SEEK.FIT, list(step.drop) or cfg.SEEK.DROP
    return replace_values(cfg, {"SEEK.FIT": fit, "SEEK.DROP": drop})


def describe_plan(plan: Plan, opts: Sequence[Any] = ()) -> str:
    """The steps of a plan as a table, without training them.

    Raises:
        UsageError: as `configs`.
    """
    rows = [("step", "from", "size", "batch", "lr", "epochs", "frozen", "dropped", "recipe")]
    notes = []
    for step, cfg in zip(plan.steps, configs(plan, opts), strict=True):
        total, own = cfg.SOLVER.MAX_EPOCH, phase_epochs(cfg)
        times = f" x {cfg.SEEK.ACCUMULATE}" if cfg.SEEK.ACCUMULATE > 1 else ""
        rows.append(
            (
                step.name,
                step.source + (" (best)" if step.take == "best" else ""),
                _size(cfg),
                f"{cfg.SOLVER.IMS_PER_BATCH}{times}",
                f"{cfg.SOLVER.BASE_LR:g}",
                str(total) if own == total else f"{own} of {total}",
                ", ".join(cfg.SEEK.FREEZE) or "-",
                ", ".join(cfg.SEEK.DROP) or "-",
                step.recipe,
            )
        )
        notes += [f"{step.name}: {step.note}"] if step.note else []
    table = align_columns(rows, left=range(len(rows[0])))
    return "\n".join([f"{plan.name} ({plan.path})", table, *notes])


def _size(cfg: CfgNode) -> str:
    sizing = re.compile(r"resize|rescale|crop")
    calls = [call for call in cfg.SEEK.TRAIN if sizing.search(call)]
    return calls[0] if calls else "x".join(map(str, cfg.INPUT.SIZE_TRAIN))
