"""A contest recipe: which models take part, what they are asked, how their answers become one
submission.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Collection, Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta, field

from ...errors import UsageError
from ...io.paths import PathLike
from ...io.spec_reader import Call, Calls, Spec, check_calls, read_spec
from ...io.yaml_lines import Document
from ...registry import ENHANCERS, FUSERS, METRICS, RERANKERS, SEARCHERS, parse
from ..plan.spec import find_beside

RECOGNIZES = "gldv2-recognition"
Task = Literal["gldv2-retrieval", "gldv2-recognition", "digix"]
SIDES = ("REFERENCE", "QUERIES", "GALLERY", "NON_LANDMARKS")
JOINED = ("concatenated", "candidates")
RECOGNITION = {
    "recognise": ("n_quantiles", "votes", "gallery_k", "query_k"),
    "ban_frequent": ("most", "rule"),
}
ENSEMBLE = "ensemble"  # the row of all members
# files of a contest's folder that its submission must not overwrite
RESERVED = (
    "gallery.txt",
    "labels.csv",
    "landmarks.csv",
    "queries.txt",
    "ranking.npz",
    "rejects.csv",
    "shown.npz",
    "solution.csv",
    "stage.json",
    "submissions",
)
Settings = Mapping[str, Any]


class MemberSpec(Spec, frozen=True, kw_only=True):
    """One model of the ensemble; see `read_contest`, which fills in what a member leaves out."""

    NOUN: ClassVar[str] = "a member"
    name: str
    family: str = ""
    plan: str = ""
    recipe: str = ""
    weights: str = ""
    settings: dict[str, Any] = field(default_factory=dict, name="SET")
    embed: dict[str, Any] = {}
    weight: Annotated[float, Meta(gt=0)] = 1.0
    enhance: Calls = ()
    search: Call = ""
    post: Calls = ()


class SubjectSpec(Spec, frozen=True, kw_only=True):
    """SUBJECTS: which queries are searched with each thing they show."""

    NOUN: ClassVar[str] = "SUBJECTS"
    below: Annotated[float, Meta(ge=0, le=1)] = 0.2
    depth: Annotated[int, Meta(ge=1)] = 10
    on: str = ""


class ContestSpec(Spec, frozen=True, kw_only=True):
    """A contest recipe as it stands in the file; see `read_contest`."""

    NOUN: ClassVar[str] = "a contest"
    name: str = ""
    task: Task
    data: str = ""
    reference: str = ""
    queries: str = ""
    gallery: str = ""
    non_landmarks: str = ""
    members: tuple[MemberSpec, ...]
    ensemble: Call
    enhance: Calls = ()
    search: Call = "exact(k=100)"
    post: Calls = ()
    subjects: SubjectSpec | None = None
    metrics: Calls = ()
    submission: str = "submission.csv"
    solution: str = ""
    short: dict[str, Any] = {}
    budget: Annotated[float, Meta(ge=0)] = field(default=0.0, name="BUDGET_MB")


@dataclasses.dataclass(frozen=True)
class Contest:
    """A contest recipe, checked.

    Args:
        document: its file.
        spec: what stands there.
        name: the title of its page.
        sides: REFERENCE (labelled images: its training split), QUERIES, GALLERY, NON_LANDMARKS ->
            data set.
        members: the models, with nothing left out.
    """

    document: Document
    spec: ContestSpec
    name: str
    sides: Mapping[str, str]
    members: tuple[MemberSpec, ...]

    @property
    def path(self) -> str:
        """The recipe's file."""
        return self.document.path

    @property
    def stem(self) -> str:
        """The name of the contest's folder."""
        return pathlib.Path(self.path).stem

    @property
    def recognizes(self) -> bool:
        """Whether an answer is a label, not a ranking."""
        return self.spec.task == RECOGNIZES

    def where(self, member: MemberSpec) -> str:
        """File and line of a member."""
        return self.document.where(f"MEMBERS[{self.members.index(member)}]")


def read_contest(path: PathLike) -> Contest:
    """Read a contest recipe.

        NAME: heading of the page         TASK: gldv2-retrieval, gldv2-recognition or digix
        DATA: data set                    REFERENCE, QUERIES, GALLERY, NON_LANDMARKS where one differs
        MEMBERS:
          - NAME: dolg                    its row and its folder
            FAMILY: DOLG                  what it is averaged with first; its NAME when not given
            PLAN: plan  or  RECIPE: file  what trains it; relative to this file
            WEIGHTS: file                 a checkpoint of RECIPE: nothing is trained
            SET: {KEY: VALUE}             changes to every recipe of its training
            EMBED: {KEY: VALUE}           changes when images are embedded: a larger size, views
            WEIGHT: 1.0                   how much it counts in the ensemble
            ENHANCE, SEARCH, POST         instead of the contest's own
        ENSEMBLE: call string of FUSERS, or concatenated; in recognition concatenated or candidates
        ENHANCE: [calls]                  SEARCH: call
        POST: [calls]                     enhancers before the search and re-rankers after it, switched
                                          on as a whole; in recognition recognise(…), ban_frequent(…)
        SUBJECTS: {BELOW: 0.2, DEPTH: 10, ON: s4}   queries whose members' best 10 answers overlap less are
                                          searched with each of their subjects too, found on map ON (the deepest
                                          when not given); their answers are then those of the largest cosine
        METRICS: [calls]                  beside the contest's own figures
        SUBMISSION: submission.csv        SOLUTION: a CSV file; without it the labels of the data
        SHORT: {KEY: VALUE}               changes to every member for a quick look
        BUDGET_MB: 500                    megabytes all models together may have

    Raises:
        UsageError: it cannot be read, a key is unknown, missing or of the wrong type, a call string
            names no part, or two members share a name; names the file, the line and the key.
    """
    spec, document = read_spec(path, ContestSpec)
    given = {side: getattr(spec, side.lower()) for side in SIDES}
    sides = {side: data or spec.data for side, data in given.items()}
    if not sides["QUERIES"]:
        raise document.error("DATA", "neither DATA nor QUERIES names a data set")
    if not spec.members:
        raise document.error("MEMBERS", "MEMBERS is empty: a contest has one member at least")
    if not spec.ensemble:
        raise document.error("ENSEMBLE", "ENSEMBLE is empty: name a fuser, or concatenated")
    members = tuple(_complete(document, spec, number) for number in range(len(spec.members)))
    _check_names(document, members)
    _check_submission(document, spec.submission)
    _check_parts(document, spec)
    _check_subjects(document, spec)
    return Contest(document, spec, spec.name or pathlib.Path(path).stem, sides, members)


def _complete(document: Document, spec: ContestSpec, number: int) -> MemberSpec:
    """A member with the contest's own values where it gives none."""
    one, prefix = spec.members[number], f"MEMBERS[{number}]"
    if bool(one.plan) == bool(one.recipe):
        raise document.error(prefix, f"member {one.name!r}: give PLAN or RECIPE, one of the two")
    if one.weights and not one.recipe:
        told = f"member {one.name!r}: WEIGHTS go with the RECIPE they were trained by"
        raise document.error(f"{prefix}.WEIGHTS", told)
    return msgspec.structs.replace(
        one,
        family=one.family or one.name,
        plan=find_beside(document, one.plan) if one.plan else "",
        recipe=find_beside(document, one.recipe) if one.recipe else "",
        enhance=one.enhance if f"{prefix}.ENHANCE" in document.lines else spec.enhance,
        search=one.search or spec.search,
        post=one.post if f"{prefix}.POST" in document.lines else spec.post,
    )


def _check_names(document: Document, members: tuple[MemberSpec, ...]) -> None:
    """Names and families become names of files, so each must be one and stand once."""
    together = [ENSEMBLE, *(f"family {one.family}" for one in members)]
    rows = {file_name(row) for row in together} if len(members) > 1 else set()
    taken: set[str] = set()
    for number, one in enumerate(members):
        for key, name in (("NAME", one.name), ("FAMILY", one.family)):
            if not is_file_name(name):
                told = f"{key} {name!r} must be one that a folder can have: leave / and \\ out"
                raise document.error(f"MEMBERS[{number}].{key}", told)
        file = file_name(one.name)
        if file in taken:
            told = f"two members are called {one.name!r}; name them apart"
            raise document.error(f"MEMBERS[{number}].NAME", told)
        if file in rows:
            told = f"NAME {one.name!r} is the name of a row of several members: name it otherwise"
            raise document.error(f"MEMBERS[{number}].NAME", told)
        taken.add(file)


def is_file_name(name: str) -> bool:
    """Whether a name is that of a file or folder below another, and nothing else."""
    return bool(name) and name not in (".", "..") and not set(name) & set("/\\\0")


def file_name(row: str) -> str:
    """The name of a row's submission, without its suffix."""
    return row.replace(" ", "_")


def _check_submission(document: Document, name: str) -> None:
    if not is_file_name(name) or name in RESERVED:
        told = f"SUBMISSION {name!r}: expected a file name of its own, without folders"
        raise document.error("SUBMISSION", f"{told}: it lies in the contest's folder below --out")


def _check_parts(document: Document, spec: ContestSpec) -> None:
    """Every call string names a part of the kind its key wants."""
    check_calls(document, "METRICS", spec.metrics, METRICS)
    recognizes = spec.task == RECOGNIZES
    if recognizes and spec.ensemble not in JOINED:
        told = f"ENSEMBLE of recognition is one of {', '.join(JOINED)}, got {spec.ensemble!r}"
        raise document.error("ENSEMBLE", told)
    if not recognizes and spec.ensemble != JOINED[0]:
        check_calls(document, "ENSEMBLE", [spec.ensemble], FUSERS)
    for prefix, one in _searches(spec):
        check_calls(document, f"{prefix}ENHANCE", one.enhance, ENHANCERS)
        check_calls(document, f"{prefix}SEARCH", [one.search] if one.search else (), SEARCHERS)
        if recognizes:
            _check_recognition(document, f"{prefix}POST", one.post)
        else:
            # what the contest fills in is missing yet, so these are not built
            check_calls(document, f"{prefix}POST", one.post, ENHANCERS, RERANKERS)


def _check_subjects(document: Document, spec: ContestSpec) -> None:
    if spec.subjects is None:
        return
    if len(spec.members) < 2:
        told = "SUBJECTS are searched where members disagree: name two or more"
        raise document.error("SUBJECTS", told)
    if spec.task == RECOGNIZES or spec.ensemble == JOINED[0]:
        told = "SUBJECTS need an ENSEMBLE that fuses rankings"
        raise document.error("SUBJECTS", f"{told}, such as vote(depth=10)")


def _searches(spec: ContestSpec) -> Iterator[tuple[str, ContestSpec | MemberSpec]]:
    """What may say ENHANCE, SEARCH and POST, with its place in the file."""
    yield "", spec
    for number, one in enumerate(spec.members):
        yield f"MEMBERS[{number}].", one


def _check_recognition(document: Document, key: str, calls: Collection[str]) -> None:
    for call in calls:
        try:
            name, args, given = parse(call)
        except UsageError as error:
            raise document.error(key, str(error)) from error
        if name not in RECOGNITION or args or not set(given) <= set(RECOGNITION[name]):
            forms = [f"{one}({'=, '.join(keys)}=)" for one, keys in RECOGNITION.items()]
            told = f"POST of recognition is {', perhaps '.join(forms)}, got {call!r}"
            raise document.error(key, told)
