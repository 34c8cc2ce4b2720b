"""A contest recipe: which models take part, what they are asked, how their answers become one
submission.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

from ...errors import UsageError
from ...io.paths import PathLike
from ...io.yaml_lines import Document, read_yaml
from ...registry import ENHANCERS, FUSERS, METRICS, RERANKERS, SEARCHERS, parse

TASKS = ("gldv2-retrieval", "gldv2-recognition", "digix")
SIDES = ("REFERENCE", "QUERIES", "GALLERY", "NON_LANDMARKS")
JOINED = ("concatenated", "candidates")
RECOGNITION = {
    "recognise": ("n_quantiles", "votes", "gallery_k", "query_k"),
    "ban_frequent": ("most", "rule"),
}
Settings = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class MemberSpec:
    """One model of the ensemble, as the recipe names it.

    Args:
        name: of its row and its folder.
        family: what it is averaged with first.
        plan, recipe: the file it is trained by, one of the two.
        weights: a checkpoint of `recipe`, so that nothing is trained; "" for none.
        settings: changes to every recipe of its training.
        embed: changes to the recipe when photos are embedded: a larger size, views.
        weight: how much it counts in the ensemble.
        enhance, search, post: as of the whole contest.
    """

    name: str
    family: str
    plan: str
    recipe: str
    weights: str
    settings: Settings
    embed: Settings
    weight: float
    enhance: tuple[str, ...]
    search: str
    post: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Contest:
    """A contest recipe, checked.

    Args:
        path: its file.
        name: the title of its page.
        task: one of TASKS.
        sides: REFERENCE (labelled photos: its training split), QUERIES, GALLERY, NON_LANDMARKS ->
            data set.
        members: the models.
        ensemble: call string of FUSERS, or one of JOINED.
        enhance, search: of the fused answer where the members are joined before the search.
        post: post-processing, switched on and off as a whole: enhancers before the search,
            re-rankers after it; in recognition the call `recognise(…)` and perhaps
            `ban_frequent(…)`.
        metrics: call strings of METRICS that are told beside the contest's own figures.
        submission: the submission's file name.
        solution: a CSV file; "" takes the labels of the data.
        short: changes to every member's recipe for a quick look.
        budget: megabytes all models together may have; 0 for no limit.
    """

    path: str
    name: str
    task: str
    sides: Mapping[str, str]
    members: tuple[MemberSpec, ...]
    ensemble: str
    enhance: tuple[str, ...]
    search: str
    post: tuple[str, ...]
    metrics: tuple[str, ...]
    submission: str
    solution: str
    short: Settings
    budget: float = 0.0


KEYS = {
    "NAME": str,
    "TASK": str,
    "DATA": str,
    **dict.fromkeys(SIDES, str),
    "MEMBERS": list,
    "ENSEMBLE": str,
    "ENHANCE": list,
    "SEARCH": str,
    "POST": list,
    "METRICS": list,
    "SUBMISSION": str,
    "SOLUTION": str,
    "SHORT": dict,
    "BUDGET_MB": (int, float),
}
OF_MEMBER = {
    "NAME": str,
    "FAMILY": str,
    "PLAN": str,
    "RECIPE": str,
    "WEIGHTS": str,
    "SET": dict,
    "EMBED": dict,
    "WEIGHT": (int, float),
    "ENHANCE": list,
    "SEARCH": str,
    "POST": list,
}


def read_contest(path: PathLike) -> Contest:
    """Read a contest recipe.

    Raises:
        UsageError: it cannot be read, a key is unknown, missing or of the wrong type, a call string
            names no part, or two members share a name; names the file, the line and the key.
    """
    document = read_yaml(path)
    values = _check_settings(document.values, KEYS, document, "")
    for key in ("TASK", "MEMBERS", "ENSEMBLE"):
        _require(values.get(key), f"{path}: {key} is missing")
    _require(
        values["TASK"] in TASKS,
        f"{document.where('TASK')}: TASK must be one of {', '.join(TASKS)}, got {values['TASK']!r}",
    )
    sides = {side: values.get(side, values.get("DATA", "")) for side in SIDES}
    _require(sides["QUERIES"], f"{path}: neither DATA nor QUERIES names a data set")
    members = tuple(_entrant(one, values, document) for one in values["MEMBERS"])
    names = [member.name for member in members]
    for name in names:
        _require(
            names.count(name) == 1,
            f"{document.where('MEMBERS')}: two members are called {name!r}; name them apart",
        )
    _check_calls(values, members, document)
    return Contest(
        str(path),
        values.get("NAME", pathlib.Path(path).stem),
        values["TASK"],
        sides,
        members,
        values["ENSEMBLE"],
        tuple(values.get("ENHANCE", ())),
        values.get("SEARCH", "exact(k=100)"),
        tuple(values.get("POST", ())),
        tuple(values.get("METRICS", ())),
        values.get("SUBMISSION", "submission.csv"),
        values.get("SOLUTION", ""),
        values.get("SHORT", {}),
        float(values.get("BUDGET_MB", 0)),
    )


def _entrant(given: Any, whole: Mapping[str, Any], document: Document) -> MemberSpec:
    _require(
        isinstance(given, dict),
        f"{document.where('MEMBERS')}: a member is a mapping (NAME: …), got {given!r}",
    )
    values = _check_settings(given, OF_MEMBER, document, f"member {given.get('NAME', '')!r}: ")
    where = f"{document.where('MEMBERS')}: member {values.get('NAME', '')!r}: "
    name = values.get("NAME", "")
    _require(
        name and name not in (".", "..") and not set(name) & set("/\\"),
        f"{where}NAME must be one that a folder can have",
    )
    _require(
        ("PLAN" in values) != ("RECIPE" in values), f"{where}give PLAN or RECIPE, one of the two"
    )
    _require(
        "WEIGHTS" not in values or "RECIPE" in values,
        f"{where}WEIGHTS go with the RECIPE they were trained by",
    )
    weight = float(values.get("WEIGHT", 1.0))
    _require(weight > 0, f"{where}WEIGHT must be above 0, got {weight:g}")
    home = pathlib.Path(document.path).parent
    plan, recipe = (
        str(home / values[key]) if values.get(key) else "" for key in ("PLAN", "RECIPE")
    )
    pick = {
        key: values.get(key, whole.get(key, default))
        for key, default in (("ENHANCE", ()), ("SEARCH", "exact(k=100)"), ("POST", ()))
    }
    return MemberSpec(
        name,
        values.get("FAMILY", name),
        plan,
        recipe,
        values.get("WEIGHTS", ""),
        values.get("SET", {}),
        values.get("EMBED", {}),
        weight,
        tuple(pick["ENHANCE"]),
        pick["SEARCH"],
        tuple(pick["POST"]),
    )


def _check_settings(
    values: Mapping[str, Any], known: Mapping[str, Any], document: Document, where: str
) -> Mapping[str, Any]:
    for key, value in values.items():
        at = f"{document.where(key if not where else 'MEMBERS')}: {where}"
        _require(key in known, f"{at}there is no key {key}; legal: {', '.join(known)}")
        _require(
            isinstance(value, known[key]) and not isinstance(value, bool),
            f"{at}{key} must be {_kind(known[key])}, got {value!r}",
        )
        if known[key] is list and key != "MEMBERS":
            _require(
                all(isinstance(one, str) for one in value),
                f"{at}{key} must hold call strings, got {value!r}",
            )
    return values


def _kind(kind: Any) -> str:
    return {str: "a string", list: "a list", dict: "a mapping"}.get(kind, "a number")


def _check_calls(
    values: Mapping[str, Any], members: Iterable[MemberSpec], document: Document
) -> None:
    """Every call string names a part of the kind its key wants."""
    if values["TASK"] == "gldv2-recognition":
        posts = [values.get("POST", ()), *(member.post for member in members)]
        for call in [call for post in posts for call in post]:
            name, args, given = parse(call)
            _require(
                name in RECOGNITION and not args and set(given) <= set(RECOGNITION[name]),
                f"{document.where('POST')}: POST of recognition is "
                + ", perhaps ".join(
                    f"{known}({', '.join(f'{key}=' for key in keys)})"
                    for known, keys in RECOGNITION.items()
                )
                + f", got {call!r}",
            )
        _require(
            values["ENSEMBLE"] in JOINED,
            f"{document.where('ENSEMBLE')}: ENSEMBLE of recognition is one of "
            f"{', '.join(JOINED)}, got {values['ENSEMBLE']!r}",
        )
        return
    wanted = [("METRICS", METRICS.names(), values.get("METRICS", ()))]
    if values["ENSEMBLE"] != "concatenated":
        wanted.append(("ENSEMBLE", FUSERS.names(), [values["ENSEMBLE"]]))
    for one in [
        values,
        *(
            {"ENHANCE": member.enhance, "SEARCH": member.search, "POST": member.post}
            for member in members
        ),
    ]:
        wanted += [
            ("ENHANCE", ENHANCERS.names(), one.get("ENHANCE", ())),
            ("SEARCH", SEARCHERS.names(), [one.get("SEARCH", "exact(k=100)")]),
            ("POST", [*ENHANCERS.names(), *RERANKERS.names()], one.get("POST", ())),
        ]
    for key, known, calls in wanted:
        for call in calls:
            _require(
                parse(call)[0] in known,
                f"{document.where(key)}: {key}: no part is called {parse(call)[0]!r}; "
                f"legal: {', '.join(known)}",
            )


def _require(fine: Any, message: str) -> None:
    if not fine:
        raise UsageError(message)
