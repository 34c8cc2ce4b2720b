"""A plan of rounds: the steps that learn from unlabelled photos, over and over."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from ...config.schema import LIST, MAP, NUMBER, NUMBERS, SWITCH, WORD, check_keys, checked_calls
from ...config.sources import Setting, flat_settings
from ...errors import UsageError
from ...io.paths import PathLike
from ...io.spec_reader import NAME
from ...io.yaml_lines import Document, read_yaml
from ...registry import CLASS_METRICS, ENHANCERS
from ..plan.spec import NONE, PREVIOUS
from .steps import LABELLED, GrowStep, RoundsPlan, check_order

KEYS = {
    "NAME": WORD,
    "NOTE": WORD,
    "SEED": NUMBER,
    "RECIPE": WORD,
    "SET": MAP,
    "DATA": MAP,
    "ROUNDS": NUMBER,
    "STOP": MAP,
    "CLASS_METRICS": LIST,
    "FIGURES": LIST,  # its name in version 0.1
    "SHORT": MAP,
    "STEPS": LIST,
}
SHORT = {"ROUNDS": NUMBER, "SET": MAP, "DATA": MAP}
STOP = {"GAIN": NUMBER, "CHANGED": NUMBER}
DATA = {
    "LABELLED": WORD,
    "UNLABELLED": WORD,
    "SPLIT": WORD,
    "TEST_DATA": SWITCH,
    "HIDE": WORD,
    "CLASSES": NUMBER,
    "SHOTS": LIST,
    "FOLDER": NUMBER,
}
ALL = {"NAME": WORD, "DO": WORD, "ONCE": SWITCH, "NOTE": WORD}
FEATURES = {"GROUPS": SWITCH, "ENHANCE": LIST}
STEP = {
    "train": {"PHOTOS": LIST, "RECIPE": WORD, "SET": MAP, "FROM": WORD, "DROP": LIST},
    "embed": {"SET": MAP},
    "classify": {"SET": MAP},
    "cluster": FEATURES | {"METHOD": WORD, "PER": NUMBER, "NITER": NUMBER, "LEAST": NUMBER},
    "recluster": FEATURES | {"PHOTOS": WORD, "PER": NUMBER, "NITER": NUMBER},
    "select": {
        "SIZE": LIST,
        "COMPACT": NUMBER,
        "MARGIN": NUMBER,
        "PURITY": NUMBER,
        "LABELLED": NUMBER,
        "CAP": NUMBER,
    },
    "pseudo": {
        "THRESHOLD": NUMBERS,
        "QUANTILE": NUMBERS,
        "CAP": NUMBER,
        "PROTOTYPE": NUMBER,
        "GROUPS": SWITCH,
        "CALIBRATE": SWITCH,
    },
}
SPLITS = ("train", "query", "gallery")


def read_rounds(file: PathLike, short: bool = False) -> RoundsPlan:
    """Read a plan of rounds.

        NAME: semi                         RECIPE: ../configs/x.yml, of the trainings that name none
        SEED: 0                            SET: {KEY: VALUE}, for all trainings
        DATA:
          LABELLED: "manifest('a.csv')"    its "train" photos have labels, its "query" photos validate
          UNLABELLED: "manifest('b.csv')"  labels in it are never learned from, they only measure
          SPLIT: train                     which photos of UNLABELLED
          TEST_DATA: false                 whether photos of the test may be learned from
        or, to measure what labels are worth: DATA: {HIDE: "Grocery", CLASSES: 20, SHOTS: [3, 12], FOLDER: 1}, see
        `grow.hidden.hide`
        ROUNDS: 3                          STOP: {GAIN: 0.002, CHANGED: 0.01}
        CLASS_METRICS: ["top(1)"]          SHORT: {ROUNDS: 1, SET: {…}, DATA: {…}}, above all else with --short
        STEPS:
          - {NAME: start, DO: train, PHOTOS: [labelled], FROM: none, ONCE: true}
          - {NAME: embed, DO: embed, SET: {SEEK.VIEWS: ["scale(1.2)"]}}
          - {NAME: clusters, DO: cluster, PER: 60, METHOD: kmeans, GROUPS: true, ENHANCE: ["whiten(dim=256)"]}
          - {NAME: kept, DO: select, SIZE: [10, 500], COMPACT: 20, MARGIN: 20, PURITY: 0.5, CAP: 200}
          - {NAME: pretrained, DO: train, PHOTOS: [kept], FROM: none}
          - {NAME: classify, DO: classify}
          - {NAME: pseudo, DO: pseudo, THRESHOLD: [0.95, 0.9], PROTOTYPE: 5, CALIBRATE: true}
          - {NAME: again, DO: recluster, PHOTOS: pseudo, PER: 60}

    A step works on what the last step before it has made, from the round before if need be: `cluster` and `recluster`
    on the last `embed`, `select` on the last of those two, `pseudo` on the last `classify` and `embed`. A list of
    THRESHOLD or QUANTILE has one for every round, the last holds on; QUANTILE 0 leaves it to the threshold.

    Args:
        file: the plan.
        short: with its SHORT.

    Raises:
        UsageError: the file cannot be read, or a key, value, recipe or order of steps is wrong; names file and line.
    """
    document = read_yaml(file)
    check_keys(document, document.values, KEYS)
    chosen = document.values.get("SHORT", {})
    check_keys(document, chosen, SHORT, "SHORT.")
    if short and not chosen:
        raise UsageError(f"{document.path} has no SHORT, so --short would change nothing")
    for key, known in (("STOP", STOP), ("DATA", DATA)):
        check_keys(document, document.values.get(key, {}), known, f"{key}.")
    check_keys(document, chosen.get("DATA", {}), DATA, "SHORT.DATA.")
    above = flat_settings(document, "SHORT.SET.") if short else []
    values = {
        **document.values,
        **({key: chosen[key] for key in chosen if key == "ROUNDS"} if short else {}),
    }
    data = {**values.get("DATA", {}), **(chosen.get("DATA", {}) if short else {})}
    stop = values.get("STOP", {})
    rounds = values.get("ROUNDS", 1)
    if not isinstance(rounds, int) or rounds < 1:
        raise UsageError(
            f"{document.where('ROUNDS')}: ROUNDS must be a whole number of 1 or more, got"
            f" {rounds!r}"
        )
    plan = RoundsPlan(
        document.path,
        str(values.get("NAME", pathlib.Path(file).stem)),
        int(values.get("SEED", 0)),
        data,
        rounds,
        float(stop.get("GAIN", 0.002)),
        float(stop.get("CHANGED", 0)),
        _class_metrics(document),
        _steps(document, above),
    )
    _check_data(document, data)
    return plan


def _class_metrics(document: Document) -> tuple[str, ...]:
    """The class metrics, which version 0.1 called FIGURES."""
    named = [key for key in ("CLASS_METRICS", "FIGURES") if key in document.values]
    if len(named) > 1:
        raise UsageError(
            f"{document.where('FIGURES')}: FIGURES is the old name of CLASS_METRICS: keep one"
        )
    key = named[0] if named else "CLASS_METRICS"
    return _calls(document, key, document.values.get(key, ["top(1)"]), CLASS_METRICS)


def _calls(document: Document, key: str, calls: Sequence[Any], registry: Any) -> tuple[str, ...]:
    if not calls:
        raise UsageError(f"{document.where(key)}: {key} is empty: name one at least")
    return checked_calls(document, key, calls, registry)


def _check_data(document: Document, data: Mapping[str, Any]) -> None:
    where = document.where("DATA")
    if ("HIDE" in data) == ("LABELLED" in data) or ("LABELLED" in data) != ("UNLABELLED" in data):
        raise UsageError(
            f"{where}: DATA names either LABELLED and UNLABELLED, or HIDE, the data set whose"
            " labels are hidden"
        )
    if data.get("SPLIT", "train") not in SPLITS:
        raise UsageError(f"{where}: SPLIT {data['SPLIT']!r} is none of {', '.join(SPLITS)}")


def _steps(document: Document, above: Sequence[Setting]) -> tuple[GrowStep, ...]:
    rows = document.values.get("STEPS", [])
    if not rows:
        raise UsageError(
            f"{document.path}: STEPS is missing or empty: a round has at least one step"
        )
    shared, made = flat_settings(document, "SET."), list[GrowStep]()
    for number, row in enumerate(rows):
        where = document.where(f"STEPS[{number}]")
        if not isinstance(row, dict) or row.get("DO") not in STEP:
            raise UsageError(
                f"{where}: a step is a mapping with NAME and DO, one of {', '.join(STEP)}; got"
                f" {row!r}"
            )
        check_keys(document, row, ALL | STEP[row["DO"]], f"STEPS[{number}].")
        name = row.get("NAME", "")
        if not NAME.fullmatch(name) or name in (
            NONE,
            PREVIOUS,
            LABELLED,
            *(step.name for step in made),
        ):
            raise UsageError(
                f"{where}: NAME {name!r}: expected a name of its own for the step's folder:"
                " letters, digits, . _ -"
            )
        if "ENHANCE" in row and row["ENHANCE"]:
            _calls(document, f"STEPS[{number}].ENHANCE", row["ENHANCE"], ENHANCERS)
        settings = (
            *(shared if row["DO"] == "train" else ()),
            *flat_settings(document, f"STEPS[{number}].SET."),
            *(above if row["DO"] == "train" else ()),
        )
        step = GrowStep(
            name, row["DO"], row, settings, _recipe(document, row), bool(row.get("ONCE")), where
        )
        check_order(step, made)
        made.append(step)
    return tuple(made)


def _recipe(document: Document, row: Mapping[str, Any]) -> str:
    if row["DO"] != "train":
        return ""
    named = row.get("RECIPE", document.values.get("RECIPE", ""))
    path = os.path.normpath(pathlib.Path(document.path).parent / os.path.expanduser(named))
    if not named or not os.path.isfile(path):
        raise UsageError(
            f"{document.path}: RECIPE {named!r} of step {row.get('NAME')} is not there; looked for"
            f" {path}"
        )
    return path
