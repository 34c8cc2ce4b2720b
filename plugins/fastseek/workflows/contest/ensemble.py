"""What the members of a contest predict: alone, by family and together, without post-processing
and with it.
"""

from __future__ import annotations

import dataclasses
import inspect
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ...enhance._concatenated import concatenate
from ...io import csv_rows
from ...recognition.predict import Predictions, RecognitionInput, recognize
from ...recognition.rules import ban_frequent
from ...registry import ENHANCERS, FUSERS, RERANKERS, build, parse, unparse
from ...retrieval import retrieve
from ...structures import Embeddings, Item, Ranking
from .members import Items, Member
from .spec import Contest, MemberSpec
from .subjects import replace_rows

Answer = Ranking | Predictions
Stages = dict[str, Ranking]  # end of a row's name -> ranking, the last is the best there is
Subjects = Callable[[Sequence[Member], Mapping[str, Ranking]], Mapping[str, Ranking]]
WITH, AND_SUBJECTS = " + post-processing", " + subjects"
RECOGNITION_SIDES = ("QUERIES", "REFERENCE", "NON_LANDMARKS")


@dataclasses.dataclass(frozen=True, eq=False)
class Prediction:
    """One answer to all queries.

    Args:
        name: of its row.
        answer: a ranking, or in recognition a label for every query.
        seconds: of the models behind it.
    """

    name: str
    answer: Answer
    seconds: float


@dataclasses.dataclass(frozen=True, eq=False)
class Group:
    """Members that answer together, or one alone, under the name of their row."""

    name: str
    members: tuple[Member, ...]

    @property
    def seconds(self) -> float:
        """Of all members' training and embedding."""
        return sum(member.seconds for member in self.members)


@dataclasses.dataclass(frozen=True, eq=False)
class Request:
    """Embeddings that are searched as one model, and how.

    Args:
        sides: side -> embeddings.
        folders: side -> where they lie, for re-rankers that open them.
        enhance, search, post: call strings.
    """

    sides: Mapping[str, Embeddings]
    folders: Mapping[str, pathlib.Path]
    enhance: Sequence[str]
    search: str
    post: Sequence[str]


def list_sides(contest: Contest) -> list[str]:
    """The sides that have to be embedded."""
    if contest.recognizes:
        return ["REFERENCE", "QUERIES", "NON_LANDMARKS"]
    posts = [contest.spec.post, *(member.post for member in contest.members)]
    needed = {side for post in posts for call in post for side in _open_arguments(call).values()}
    return ["QUERIES", "GALLERY", *sorted(needed - {"LABELS"})]


def _open_arguments(call: str) -> dict[str, str]:
    """Arguments of a re-ranker that the contest fills in -> which side they name."""
    name, args, given = parse(call)
    if name not in RERANKERS or args:
        return {}
    parameters = inspect.signature(RERANKERS.get(name)).parameters
    missing = [key for key in parameters if key not in given]
    if "reference" not in missing:
        return {}
    if "labels" in missing:
        return {"reference": "REFERENCE", "labels": "LABELS"}
    return {"reference": "NON_LANDMARKS"}


def fill_arguments(call: str, folders: Mapping[str, pathlib.Path]) -> str:
    """A re-ranker's call string with the contest's own reference, labels, or images without a
    landmark.
    """
    name, args, given = parse(call)
    filled = {key: str(folders[side]) for key, side in _open_arguments(call).items()}
    return unparse(name, args, filled | given)


def write_labels(path: pathlib.Path, items: Sequence[Item]) -> None:
    """The labels of the reference, as re-rankers read them."""
    rows = ((item.id, item.label) for item in items if item.label)
    csv_rows.write(path, ("id", "label"), rows)


def predict(
    contest: Contest,
    members: Sequence[Member],
    items: Items,
    home: pathlib.Path,
    subjects: Subjects | None = None,
) -> Iterator[Prediction]:
    """Yield every row's answer: members, then families of several, then the ensemble, each without
    post-processing, with it, and with the subjects of the queries the members disagree on.

    Args:
        contest: its recipe.
        members: trained and embedded.
        items: side -> images.
        home: the folder of this contest's own files.
        subjects: members and their rankings -> better answers of some queries; None without.
    """
    alone = [Group(member.spec.name, (member,)) for member in members]
    together = _group_members(members)
    if contest.recognizes:
        yield from _recognize(contest, [*alone, *together], items)
    else:
        yield from _rank(contest, alone, together, home, subjects)


def _group_members(members: Sequence[Member]) -> list[Group]:
    """Families of several members that are not all of them, then all."""
    families: dict[str, list[Member]] = {}
    for member in members:
        families.setdefault(member.spec.family, []).append(member)
    groups = [
        Group(f"family {name}", tuple(family))
        for name, family in families.items()
        if 1 < len(family) < len(members)
    ]
    return groups + ([Group("ensemble", tuple(members))] if len(members) > 1 else [])


def _recognize(contest: Contest, groups: Sequence[Group], items: Items) -> Iterator[Prediction]:
    labels = {item.id: item.label for item in items["REFERENCE"]}
    for group in groups:
        post = group.members[0].spec.post if len(group.members) == 1 else contest.spec.post
        calls = {name: given for name, _, given in map(parse, post)}
        settings = calls.get("recognise", {})
        inputs = _recognition_inputs(contest, group)
        known = [labels[name] for name in inputs[0].reference.ids.tolist()]
        # Without post-processing the votes alone decide: no bent dimensions, no distractors.
        bare = {**settings, "n_quantiles": 0, "gallery_k": 0, "query_k": 0}
        yield Prediction(group.name, recognize(inputs, known, **bare), group.seconds)
        if post:
            found = recognize(inputs, known, **settings)
            if "ban_frequent" in calls:
                found = ban_frequent(found, **calls["ban_frequent"])
            yield Prediction(f"{group.name}{WITH}", found, group.seconds)


def _recognition_inputs(contest: Contest, group: Group) -> list[RecognitionInput]:
    if contest.spec.ensemble == "concatenated" and len(group.members) > 1:
        sides = [concatenate_members(group.members, side) for side in RECOGNITION_SIDES]
        return [RecognitionInput(*sides)]
    return [
        RecognitionInput(*(member.sides[side] for side in RECOGNITION_SIDES))
        for member in group.members
    ]


def concatenate_members(members: Sequence[Member], side: str) -> Embeddings:
    """The vectors of several models as one: the mean of every family, families side by side."""
    return concatenate(
        [member.sides[side] for member in members],
        [member.spec.family for member in members],
        [member.spec.weight for member in members],
        [member.spec.name for member in members],
    )


def _rank(
    contest: Contest,
    alone: Sequence[Group],
    together: Sequence[Group],
    home: pathlib.Path,
    subjects: Subjects | None,
) -> Iterator[Prediction]:
    labels = {"LABELS": home / "labels.csv"}
    stages: dict[str, Stages] = {}
    for group in alone:
        member = group.members[0]
        folders, spec = {**member.folders, **labels}, member.spec
        request = Request(member.sides, folders, spec.enhance, spec.search, spec.post)
        stages[group.name] = _search(request)
        yield from _name_stages(group, stages[group.name])
    if subjects is not None:
        plain = {name: of_member[""] for name, of_member in stages.items()}
        better = subjects([group.members[0] for group in alone], plain)
        for group in alone:
            end, last = list(stages[group.name].items())[-1]
            made = {f"{end}{AND_SUBJECTS}": replace_rows(last, better[group.name])}
            stages[group.name] |= made
            yield from _name_stages(group, made)
    for group in together:
        if contest.spec.ensemble == "concatenated":
            request = _concatenated_request(contest, group, home / "joined" / group.name, labels)
            yield from _name_stages(group, _search(request))
        else:
            members = [stages[member.spec.name] for member in group.members]
            yield from _name_stages(group, _fuse(contest, group, members))


def _name_stages(group: Group, stages: Stages) -> Iterator[Prediction]:
    for end, ranking in stages.items():
        yield Prediction(f"{group.name}{end}", ranking, group.seconds)


def _fuse(contest: Contest, group: Group, members: Sequence[Stages]) -> Stages:
    """The members' rankings fused stage by stage; a member without a stage takes part with the one
    before.
    """
    fuse = _build_fuser(contest.spec.ensemble, [member.spec for member in group.members])
    steps = [_by_step(stages) for stages in members]
    names: dict[int, str] = {}
    for of_member in steps:
        for step, (end, _) in of_member.items():
            names[step] = max(names.get(step, ""), end, key=len)
    made: Stages = {}
    for step in sorted(names):
        rankings = [of_member[max(one for one in of_member if one <= step)] for of_member in steps]
        made[names[step]] = fuse([ranking for _, ranking in rankings])
    return made


def _by_step(stages: Stages) -> dict[int, tuple[str, Ranking]]:
    """0 plain, 1 post-processed, 2 with subjects -> name and ranking."""
    return {
        2 if end.endswith(AND_SUBJECTS) else int(bool(end)): (end, ranking)
        for end, ranking in stages.items()
    }


def _build_fuser(call: str, specs: Sequence[MemberSpec]) -> Callable[[Sequence[Ranking]], Ranking]:
    fuser: Any = build(call, FUSERS)
    weights, names = [spec.weight for spec in specs], [spec.name for spec in specs]
    if set(weights) != {1.0}:
        fuser = fuser.reweigh(weights)
    return lambda rankings: fuser(rankings, names)


def _search(request: Request) -> Stages:
    """The ranking of one model without post-processing and, where there is some, with it."""
    queries, gallery = request.sides["QUERIES"], request.sides["GALLERY"]
    made = {"": retrieve(queries, gallery, request.search, request.enhance)[-1]}
    if request.post:
        enhancers = [call for call in request.post if parse(call)[0] in ENHANCERS]
        rerankers = [
            fill_arguments(call, request.folders) for call in request.post if call not in enhancers
        ]
        enhance = [*request.enhance, *enhancers]
        made[WITH] = retrieve(queries, gallery, request.search, enhance, rerankers)[-1]
    return made


def _concatenated_request(
    contest: Contest, group: Group, home: pathlib.Path, labels: Mapping[str, pathlib.Path]
) -> Request:
    """The members side by side as one model; what re-rankers open is saved below `home`."""
    wanted = group.members[0].sides
    sides = {side: concatenate_members(group.members, side) for side in wanted}
    folders = dict(labels)
    for side in sides:
        if side not in ("QUERIES", "GALLERY"):
            folders[side] = home / side.lower()
            sides[side].save(folders[side])
    return Request(sides, folders, contest.spec.enhance, contest.spec.search, contest.spec.post)
