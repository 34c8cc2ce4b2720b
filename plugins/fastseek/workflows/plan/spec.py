"""A plan file: recipes trained one after the other, each from what the one before has learned."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ...config import recipe
from ...config.schema import LIST, MAP, SWITCH, WORD, check_keys
from ...config.solver_values import phase_epochs
from ...config.sources import Setting, flat_settings
from ...errors import UsageError
from ...io.paths import PathLike
from ...io.text_table import align_columns
from ...io.yaml_lines import Document, read_yaml

from fastreid.config import CfgNode

KEYS = {"NAME": WORD, "NOTE": WORD, "RECIPE": WORD, "SET": MAP, "STEPS": LIST}
STEP = {
    "NAME": WORD,
    "NOTE": WORD,
    "RECIPE": WORD,
    "SET": MAP,
    "FROM": WORD,
    "TAKE": WORD,
    "DROP": LIST,
    "STRICT": SWITCH,
    "GROW": SWITCH,
}
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]*")
NONE, PREVIOUS = "none", "previous"
TAKEN = {"final": "model_final.safetensors", "best": "model_best.safetensors"}
OWN = ("OUTPUT_DIR",)  # keys the plan itself gives every step


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
    document = read_yaml(file)
    check_keys(document, document.values, KEYS)
    name = document.values.get("NAME", pathlib.Path(file).stem)
    if not NAME.fullmatch(name):
        raise UsageError(
            f"{document.where('NAME')}: NAME {name!r} names a folder: expected letters, digits,"
            " . _ -"
        )
    rows = document.values.get("STEPS", [])
    if not rows:
        raise UsageError(
            f"{document.path}: STEPS is missing or empty: a plan has at least one step"
        )
    steps: list[PlanStep] = []
    for number, row in enumerate(rows):
        if not isinstance(row, dict):
            raise UsageError(
                f"{document.where(f'STEPS[{number}]')}: a step is a mapping (NAME: …), got {row!r}"
            )
        steps.append(_step(document, number, row, [step.name for step in steps]))
    return Plan(document.path, name, tuple(steps))


def _step(document: Document, number: int, row: Mapping[str, Any], earlier: list[str]) -> PlanStep:
    prefix = f"STEPS[{number}]."
    check_keys(document, row, STEP, prefix)
    name, where = row.get("NAME", ""), document.where(f"STEPS[{number}]")
    if not NAME.fullmatch(name) or name in (NONE, PREVIOUS, *earlier):
        raise UsageError(
            f"{where}: NAME {name!r}: expected a name of its own for the step's folder: letters,"
            " digits, . _ -"
        )
    if row.get("STRICT") and row.get("GROW"):
        raise UsageError(
            f"{where}: STRICT and GROW exclude each other: a grown model has more than the weights"
        )
    if row.get("TAKE", "final") not in TAKEN:
        raise UsageError(
            f"{document.where(f'{prefix}TAKE')}: TAKE is {row['TAKE']!r}; legal: {', '.join(TAKEN)}"
        )
    drop = row.get("DROP", [])
    if not all(isinstance(one, str) and one for one in drop):
        raise UsageError(
            f"{document.where(f'{prefix}DROP')}: DROP must be parts of names, got {drop!r}"
        )
    settings = (*flat_settings(document, "SET."), *flat_settings(document, f"{prefix}SET."))
    own = next((setting for setting in settings if setting.key in OWN), None)
    if own is not None:
        raise UsageError(
            f"{own.where}: {own.key} is the plan's own matter: a step's folder is called as the"
            " step"
        )
    source = _source(document, prefix, row, earlier)
    fit = (
        ""
        if source == NONE
        else "all"
        if row.get("STRICT")
        else "grow"
        if row.get("GROW")
        else "some"
    )
    return PlanStep(
        name,
        _recipe(document, prefix, row),
        settings,
        source,
        row.get("TAKE", "final"),
        tuple(drop),
        fit,
        where,
        row.get("NOTE", ""),
    )


def _recipe(document: Document, prefix: str, row: Mapping[str, Any]) -> str:
    """The recipe of a step, looked for beside the plan."""
    key = f"{prefix}RECIPE" if "RECIPE" in row else "RECIPE"
    named = row.get("RECIPE", document.values.get("RECIPE", ""))
    path = pathlib.Path(document.path).parent / os.path.expanduser(named)
    if not named or not path.is_file():
        raise UsageError(
            f"{document.where(key)}: RECIPE {named!r} of step {row['NAME']} is not there; looked"
            f" for {path}"
        )
    return os.path.normpath(path)


def _source(document: Document, prefix: str, row: Mapping[str, Any], earlier: list[str]) -> str:
    named = row.get("FROM", PREVIOUS if earlier else NONE)
    if named == PREVIOUS:
        if not earlier:
            raise UsageError(
                f"{document.where(f'{prefix}FROM')}: FROM previous: the first step has none"
                " before it"
            )
        return earlier[-1]
    if named in (NONE, *earlier):
        return named
    if pathlib.Path(named).suffix not in (".safetensors", ".pth", ".pt"):
        raise UsageError(
            f"{document.where(f'{prefix}FROM')}: FROM {named!r} is no earlier step "
            f"({', '.join(earlier) or 'there is none'}) and no weight file (.safetensors, .pth)"
        )
    beside = pathlib.Path(document.path).parent / named
    return os.path.normpath(beside) if beside.is_file() else named


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
    cfg = cfg.clone()
    cfg.defrost()
    cfg.SEEK.FIT, cfg.SEEK.DROP = step.fit or cfg.SEEK.FIT, list(step.drop) or cfg.SEEK.DROP
    cfg.freeze()
    return cfg


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
