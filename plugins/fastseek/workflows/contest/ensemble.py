"""What the members of a contest answer, alone, by family and together, without post-processing and
with it.
"""

from __future__ import annotations

import dataclasses
import inspect
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ...enhance._concatenated import concatenate
from ...io.atomic import atomic
from ...recognition.predict import Predictions, recognize
from ...recognition.predict import RecognitionInput as Three
from ...recognition.rules import ban_frequent
from ...registry import ENHANCERS, FUSERS, RERANKERS, build, parse, unparse
from ...retrieval import retrieve
from ...structures import Embeddings, Item, Ranking
from .members import Member
from .spec import Contest

Answer = Ranking | Predictions
WITH = " + post-processing"


@dataclasses.dataclass(frozen=True, eq=False)
class Prediction:
    """One answer to all queries: its row's name, the answer, and the seconds of the models behind
    it.
    """

    name: str
    answer: Answer
    seconds: float


@dataclasses.dataclass(frozen=True, eq=False)
class Request:
    """Embeddings that are searched as one model: sides, the folders of those that re-rankers open,
    and settings.
    """

    sides: Mapping[str, Embeddings]
    folders: Mapping[str, pathlib.Path]
    enhance: Sequence[str]
    search: str
    post: Sequence[str]


def sides_needed(contest: Contest) -> list[str]:
    """The sides that have to be embedded."""
    if contest.task == "gldv2-recognition":
        return ["REFERENCE", "QUERIES", "NON_LANDMARKS"]
    posts = [contest.post, *(member.post for member in contest.members)]
    needs = {side for post in posts for call in post for side in _opened_by(call).values()}
    return ["QUERIES", "GALLERY", *sorted(needs - {"LABELS"})]


def _opened_by(call: str) -> dict[str, str]:
    """Arguments of a re-ranker that the contest fills in -> which side they name."""
    name, args, given = parse(call)
    if name not in RERANKERS or args:
        return {}
    open_ones = [
        key for key in inspect.signature(RERANKERS.get(name)).parameters if key not in given
    ]
    if "reference" not in open_ones:
        return {}
    return (
        {"reference": "REFERENCE", "labels": "LABELS"}
        if "labels" in open_ones
        else {"reference": "NON_LANDMARKS"}
    )


def fill_answers(call: str, folders: Mapping[str, pathlib.Path]) -> str:
    """A re-ranker's call string with the contest's own reference, labels or pictures without a
    landmark.
    """
    name, args, given = parse(call)
    return unparse(
        name, args, {key: str(folders[side]) for key, side in _opened_by(call).items()} | given
    )


def write_labels(path: pathlib.Path, items: Sequence[Item]) -> None:
    """The labels of the reference, as re-rankers read them."""
    with atomic(path, "w") as file:
        file.write("id,label\n")
        file.writelines(f"{item.id},{item.label}\n" for item in items if item.label)


def answers(
    contest: Contest,
    members: Sequence[Member],
    items: Mapping[str, Sequence[Item]],
    home: pathlib.Path,
) -> Iterator[Prediction]:
    """Yield every row's answer: members, then families of several, then the ensemble, each without
    and with.

    Args:
        contest: its recipe.
        members: trained and embedded.
        items: side -> photos.
        home: the folder of this contest's own files.
    """
    families: dict[str, list[Member]] = {}
    for member in members:
        families.setdefault(member.entrant.family, []).append(member)
    groups = [
        (f"family {name}", group)
        for name, group in families.items()
        if 1 < len(group) < len(members)
    ]
    groups += [("ensemble", list(members))] if len(members) > 1 else []
    if contest.task == "gldv2-recognition":
        yield from _recognize(contest, members, groups, items)
    else:
        yield from _rank_members(contest, members, groups, home)


def _recognize(
    contest: Contest,
    members: Sequence[Member],
    groups: Sequence[tuple[str, list[Member]]],
    items: Mapping[str, Sequence[Item]],
) -> Iterator[Prediction]:
    labels = {item.id: item.label for item in items["REFERENCE"]}
    for name, group in [*((one.entrant.name, [one]) for one in members), *groups]:
        post = group[0].entrant.post if len(group) == 1 else contest.post
        threes = [
            Three(*(one.sides[side] for side in ("QUERIES", "REFERENCE", "NON_LANDMARKS")))
            for one in group
        ]
        if contest.ensemble == "concatenated" and len(group) > 1:
            threes = [
                Three(
                    *(
                        concatenate_members(group, side)
                        for side in ("QUERIES", "REFERENCE", "NON_LANDMARKS")
                    )
                )
            ]
        known = [labels[name] for name in threes[0].reference.ids.tolist()]
        calls = {name: given for name, _, given in map(parse, post)}
        given, seconds = calls.get("recognise", {}), sum(one.seconds for one in group)
        yield Prediction(
            name,
            recognize(threes, known, **{**given, "n_quantiles": 0, "gallery_k": 0, "query_k": 0}),
            seconds,
        )
        if post:
            found = recognize(threes, known, **given)
            banned = (
                ban_frequent(found, **calls["ban_frequent"]) if "ban_frequent" in calls else found
            )
            yield Prediction(f"{name}{WITH}", banned, seconds)


def concatenate_members(members: Sequence[Member], side: str) -> Embeddings:
    """The vectors of several models as one: the mean of every family, families side by side."""
    entrants = [member.entrant for member in members]
    return concatenate(
        [member.sides[side] for member in members],
        [one.family for one in entrants],
        [one.weight for one in entrants],
        [one.name for one in entrants],
    )


def _rank_members(
    contest: Contest,
    members: Sequence[Member],
    groups: Sequence[tuple[str, list[Member]]],
    home: pathlib.Path,
) -> Iterator[Prediction]:
    labels = {"LABELS": home / "labels.csv"}
    alone: dict[str, list[Ranking]] = {}
    for member in members:
        one = member.entrant
        asked = Request(
            member.sides, {**member.folders, **labels}, one.enhance, one.search, one.post
        )
        for said in _both(one.name, asked, member.seconds):
            alone.setdefault(one.name, []).append(said.answer)
            yield said
    for name, group in groups:
        seconds = sum(member.seconds for member in group)
        if contest.ensemble == "concatenated":
            yield from _both(
                name, _side_by_side(contest, group, home / "joined" / name, labels), seconds
            )
            continue
        lists = [alone[member.entrant.name] for member in group]
        fuse = _fuser(contest.ensemble, [member.entrant for member in group])
        yield Prediction(name, fuse([rankings[0] for rankings in lists]), seconds)
        if any(len(rankings) > 1 for rankings in lists):
            yield Prediction(f"{name}{WITH}", fuse([rankings[-1] for rankings in lists]), seconds)


def _fuser(call: str, entrants: Sequence[Any]) -> Callable[[Sequence[Ranking]], Ranking]:
    fuser = build(call, FUSERS)
    weights, names = [one.weight for one in entrants], [one.name for one in entrants]
    if set(weights) != {1.0}:
        fuser = fuser.weighted(weights)
    return lambda rankings: fuser(rankings, names)


def _both(name: str, asked: Request, seconds: float) -> Iterator[Prediction]:
    """The answer of one model without post-processing and, where there is some, with it."""
    sides = asked.sides["QUERIES"], asked.sides["GALLERY"]
    yield Prediction(name, retrieve(*sides, asked.search, asked.enhance)[-1], seconds)
    if asked.post:
        before = [call for call in asked.post if parse(call)[0] in ENHANCERS]
        after = [
            fill_answers(call, asked.folders)
            for call in asked.post
            if parse(call)[0] not in ENHANCERS
        ]
        yield Prediction(
            f"{name}{WITH}",
            retrieve(*sides, asked.search, [*asked.enhance, *before], after)[-1],
            seconds,
        )


def _side_by_side(
    contest: Contest,
    group: Sequence[Member],
    home: pathlib.Path,
    labels: Mapping[str, pathlib.Path],
) -> Request:
    sides, folders = (
        {side: concatenate_members(group, side) for side in group[0].sides},
        dict(labels),
    )
    for side in sides:
        if side not in ("QUERIES", "GALLERY"):
            folders[side] = home / side.lower()
            sides[side].save(folders[side])
    return Request(sides, folders, contest.enhance, contest.search, contest.post)
