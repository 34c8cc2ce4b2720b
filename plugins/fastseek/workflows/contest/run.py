"""A contest from recipe to score: members trained and embedded, post-processed, fused, handed in,
scored, shown.
"""

from __future__ import annotations

import dataclasses
import logging
import pathlib
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from ...audit.size_budget import check_budget
from ...distributed.run_lock import hold_run_folder, wait_for_run_folder
from ...errors import UsageError
from ...inference.embedding import source_of
from ...io.code_version import current_commit
from ...io.digests import digest, sha256
from ...io.paths import PathLike, locate
from ...io.stage_record import Stage, StageRecord
from ...io.text_table import table
from ...metrics import evaluate
from ...report import ImageSources, PageLayout, page, row, write_results
from ...retrieval import retrieve
from ...structures import Embeddings, GroundTruth, Ranking, Score
from ...structures.embedding_job import count_missing
from ...structures.job_part import ALL, JobPart
from ...training.run_setup import start_log
from .ensemble import (
    Answer,
    Prediction,
    concatenate_members,
    list_sides,
    predict,
    write_labels,
)
from .members import (
    Items,
    Member,
    TrainedMember,
    embed_member,
    embed_member_part,
    key_value_pairs,
    load_sides,
    plan_member,
    side_folders,
    train_member,
)
from .spec import Contest, MemberSpec, file_name, read_contest
from .subjects import SubjectSearch
from .submission import DigixSheet, Intervals, RecognitionSheet, RetrievalSheet, Sheet
from .unreadable import FILE as REJECTS
from .unreadable import complete_ranking, describe_unreadable, write_rejects

logger = logging.getLogger("fastreid.fastseek")
Rows = list[dict[str, Any]]
MEMBERS, LABELS = "members", "labels.csv"
RANKING, SHOWN = "ranking.npz", "shown.npz"  # SHOWN is no answer, but what a page shows of labels
NEAREST = "exact(k=20)"  # neighbors of the reference that the page of a recognition contest shows


def run_files(
    recipes: Sequence[PathLike],
    out: PathLike,
    short: bool = False,
    opts: Sequence[str] = (),
    part: JobPart = ALL,
) -> str:
    """Run contest recipes one after the other; members they share are trained once.

    A killed run goes on where it stopped when it is started again: finished trainings and
    embeddings are kept, as long as the recipes they rest on say the same. Writes results.json with
    the rows of all, report.html for the first and report-NAME.html for the others, members/ and a
    folder of each contest with its submissions.

    Args:
        recipes: contest recipes.
        out: the folder of the run.
        short: take the changes of every recipe's SHORT.
        opts: KEY VALUE changes to every member's recipe.
        part: of the images, that this process embeds. A member is trained by the process that comes
            to it first; whichever part ends last answers.

    Returns:
        the table of figures as text, with the paths of the pages below it; or how many shards of
        other parts are missing.

    Raises:
        UsageError: a recipe is wrong, found before anything is trained. DataError: images, weights
            or a solution are missing. RunError: a training failed, or another process writes to
            `out`.
    """
    out, contests = pathlib.Path(out), [read_contest(path) for path in recipes]
    _check(contests, short)
    several = len(contests) > 1
    runs = [_Run(one, out, _options(one, short, opts), several) for one in contests]
    for run in runs:
        run.check_members()
    if part.count > 1:
        told = _embed_part(runs, out, part)
        if told:
            return told
    with hold_run_folder(out) if part.count == 1 else wait_for_run_folder(out):
        start_log(str(out))
        for run in runs:
            run.open()
        for run in runs:
            run.run(part)
        rows = [line for run in runs for line in run.rows]
        write_results(out / "results.json", rows, current_commit(), runs[0].seed)
        names = ["report.html", *(f"report-{run.home.name}.html" for run in runs[1:])]
        pages = [run.write_page(out / name, rows) for run, name in zip(runs, names, strict=True)]
    unreadable = [run.unreadable for run in runs if run.unreadable]
    return "\n".join([table(rows), "", *unreadable, *(f"page: {path}" for path in pages)])


def _embed_part(runs: Sequence[_Run], out: pathlib.Path, part: JobPart) -> str:
    """Train and embed; returns what is missing of other parts, "" where nothing is."""
    with wait_for_run_folder(out):
        start_log(str(out))
        for run in runs:
            run.open()
    folders = [folder for run in runs for folder in run.embed(part)]
    counts = [count_missing(folder) for folder in dict.fromkeys(folders)]
    missing, shards = (sum(count[place] for count in counts) for place in (0, 1))
    if not missing:
        return ""
    return (
        f"part {part} is done; {missing} of {shards} shards below {out / MEMBERS} are missing yet:"
        " whichever part ends last answers"
    )


def _check(contests: Sequence[Contest], short: bool) -> None:
    if not contests:
        raise UsageError("no contest recipe is named")
    homes = [contest.stem for contest in contests]
    if len(set(homes)) < len(homes):
        told = ", ".join(homes)
        raise UsageError(f"contest recipes run together need different file names, got {told}")
    if MEMBERS in homes:
        raise UsageError(f"{MEMBERS} is the folder of the models: call the recipe otherwise")
    known: dict[str, tuple[str, MemberSpec]] = {}
    for contest in contests:
        if short and not contest.spec.short:
            raise UsageError(f"{contest.path} has no SHORT, so --short would change nothing")
        for member in contest.members:
            # Members of one name lie in one folder, so they must be one training.
            path, other = known.setdefault(member.name, (contest.path, member))
            if _training_of(member) != _training_of(other):
                raise UsageError(
                    f"{contest.where(member)}: member {member.name!r} is another than that of"
                    f" {path}: name it otherwise"
                )


def _training_of(member: MemberSpec) -> tuple[Any, ...]:
    return (member.plan, member.recipe, member.weights, member.settings, member.embed)


def _options(contest: Contest, short: bool, opts: Sequence[str]) -> list[str]:
    """KEY VALUE changes to every member: those of SHORT, then the command line's."""
    return [*(key_value_pairs(contest.spec.short) if short else ()), *opts]


class _Run:
    """One contest from its recipe to its page.

    Args:
        contest: the recipe.
        out: the folder of all contests that run together.
        opts: KEY VALUE changes to every member's recipe.
        several: whether others run beside it, so that its rows need its name.
    """

    def __init__(
        self, contest: Contest, out: pathlib.Path, opts: Sequence[str], several: bool
    ) -> None:
        self.contest, self.out, self.opts = contest, out, opts
        self.home = out / contest.stem
        self.prefix = f"{self.home.name}: " if several else ""
        self.truths: dict[str, GroundTruth] = {}

    def check_members(self) -> None:
        """Read what trains every model.

        Raises:
            UsageError: a plan or a recipe is wrong; says which member's.
        """
        for member in self.contest.members:
            try:
                plan_member(member, self.opts)
            except UsageError as error:
                where = self.contest.where(member)
                raise UsageError(f"{where}: member {member.name!r}: {error}") from error

    def open(self) -> None:
        """Find the images and the solution."""
        self.home.mkdir(parents=True, exist_ok=True)
        sides = load_sides(self.contest, list_sides(self.contest))
        self.sheet, self.items = _open_sheet(self.contest, sides, self.home)

    def embed(self, part: JobPart) -> list[pathlib.Path]:
        """Train the members and embed a part of the images, unless all is answered.

        Returns:
            the folders of the embeddings.
        """
        trained = self._train(part)
        if StageRecord(self.home, self._inputs(trained)).is_finished():
            return []
        folders: list[pathlib.Path] = []
        for one in trained:
            embed_member_part(one, self.items, self._folder(one.spec), part)
            folders += side_folders(self.items, self._folder(one.spec)).values()
        return folders

    def _train(self, part: JobPart) -> list[TrainedMember]:
        """Train the members that are not; processes of several parts begin with different ones."""
        specs = self.contest.members
        if part.count == 1:
            return [train_member(spec, self._folder(spec), self.opts) for spec in specs]
        found = {}
        for place in range(len(specs)):
            spec = specs[(place + part.number) % len(specs)]
            with wait_for_run_folder(self._folder(spec)):
                found[spec.name] = train_member(spec, self._folder(spec), self.opts)
        return [found[spec.name] for spec in specs]

    def run(self, part: JobPart) -> None:
        """Train, embed, predict, hand in and score, unless that is done.

        Args:
            part: of this process; all other parts are embedded.
        """
        trained = self._train(part)
        self.part, self.seed = part, trained[0].cfg.SEED
        record = StageRecord(self.home, self._inputs(trained))
        stage = record.load()
        if stage is None:
            if record.was_finished():
                logger.warning("%s is answered anew: %s", self.home.name, record.refusal())
            stage = self._answer(record, trained)
        else:
            logger.info("%s is done", self.home.name)
        self._check_budget(stage.results["sizes"])
        file = self.home / REJECTS
        told = describe_unreadable(stage.results["unreadable"], self.items, file)
        self.unreadable = f"{self.prefix}{told}" if told else ""
        self.rows: Rows = [
            {**one, "name": f"{self.prefix}{one['name']}"} for one in stage.results["rows"]
        ]

    def _folder(self, member: MemberSpec) -> pathlib.Path:
        return self.out / MEMBERS / member.name

    def _inputs(self, trained: Sequence[TrainedMember]) -> dict[str, Any]:
        """All that shapes the answer."""
        return describe_answer(self.contest, self.items, [one.describe() for one in trained])

    def _check_budget(self, sizes: Mapping[str, int]) -> None:
        if self.contest.spec.budget:
            where = f"{self.contest.document.where('BUDGET_MB')}: BUDGET_MB: "
            check_budget(sizes, self.contest.spec.budget, where)

    def _answer(self, record: StageRecord, trained: Sequence[TrainedMember]) -> Stage:
        """Embed, predict, hand in and score."""
        members = [
            embed_member(one, self.items, self._folder(one.spec), self.part) for one in trained
        ]
        sizes = {member.spec.name: member.size for member in members}
        self._check_budget(sizes)
        if "REFERENCE" in self.items:
            write_labels(self.home / LABELS, self.items["REFERENCE"])
        unreadable = write_rejects(members, self.items, self.home / REJECTS)
        files, rows = [], []
        for prediction in self._predict(members, self._subjects(trained)):
            file = self.home / "submissions" / f"{file_name(prediction.name)}.csv"
            rows.append(self._submit(prediction, file))
            files.append(file)
        last = self.home / self.contest.spec.submission
        self.sheet.submit(last, prediction.answer)
        shown = self.home / (SHOWN if self.contest.recognizes else RANKING)
        self._complete(_rank_shown(prediction.answer, members)).save(shown)
        results = {"rows": rows, "sizes": sizes, "unreadable": unreadable}
        return record.finish([*files, last, shown], results)

    def _subjects(self, trained: Sequence[TrainedMember]) -> SubjectSearch | None:
        spec = self.contest.spec.subjects
        if spec is None:
            return None
        return SubjectSearch(spec, trained, self.items["QUERIES"], self.home / "subjects")

    def _predict(
        self, members: Sequence[Member], subjects: SubjectSearch | None
    ) -> Iterator[Prediction]:
        """Yield every row's answer, over all images."""
        for made in predict(self.contest, members, self.items, self.home, subjects):
            if isinstance(made.answer, Ranking):
                made = dataclasses.replace(made, answer=self._complete(made.answer))
            yield made

    def _complete(self, ranking: Ranking) -> Ranking:
        sides = ("QUERIES", self._searched)
        queries, gallery = ([item.id for item in self.items[side]] for side in sides)
        return complete_ranking(ranking, queries, gallery)

    def _submit(self, prediction: Prediction, file: pathlib.Path) -> dict[str, Any]:
        """Hand in one answer; returns its row."""
        start = time.monotonic()
        self.sheet.submit(file, prediction.answer)
        answer = prediction.answer
        scores, intervals = self._score(file, answer if isinstance(answer, Ranking) else None)
        made = row(prediction.name, scores, prediction.seconds + time.monotonic() - start)
        made["interval"] |= intervals
        figures = [f"{score.name} {100 * score.value:.2f}" for score in scores]
        logger.info("%s%s: %s", self.prefix, prediction.name, ", ".join(figures))
        return made

    def _score(self, file: pathlib.Path, ranking: Ranking | None) -> tuple[list[Score], Intervals]:
        """The contest's own figures of a submission, and the recipe's of the ranking behind it."""
        scores, intervals = self.sheet.score(file)
        if ranking is None or not self.contest.spec.metrics:
            return scores, intervals
        known = {score.name for score in scores}
        found = evaluate(ranking, self._truth(ranking), list(self.contest.spec.metrics))
        return [*scores, *(score for score in found if score.name not in known)], intervals

    def _truth(self, ranking: Ranking) -> GroundTruth:
        """Who answers whom, over the images of a ranking; all rankings of a contest have the
        same.
        """
        side = self._searched
        if side not in self.truths:
            queries = {item.id: item for item in self.items["QUERIES"]}
            gallery = {item.id: item for item in self.items[side]}
            self.truths[side] = GroundTruth.from_items(
                [queries[name] for name in ranking.query_ids.tolist()],
                [gallery[name] for name in ranking.gallery_ids.tolist()],
            )
        return self.truths[side]

    @property
    def _searched(self) -> str:
        """The side whose images a page shows; labels are shown by their nearest references."""
        return "REFERENCE" if self.contest.recognizes else "GALLERY"

    def write_page(self, out: pathlib.Path, rows: Rows) -> pathlib.Path:
        """Write the page of the last answer, from its files; returns its path."""
        found = Ranking.load(self.home / (SHOWN if self.contest.recognizes else RANKING))
        last = self.home / self.contest.spec.submission
        scores, _ = self._score(last, None if self.contest.recognizes else found)
        queries, gallery = (
            {item.id: item.path for item in self.items[side]}
            for side in ("QUERIES", self._searched)
        )
        layout = PageLayout(title=self.contest.name, steps=rows)
        page(found, self._truth(found), scores, ImageSources(queries, gallery), out, layout)
        return out


def describe_answer(
    contest: Contest, items: Items, members: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """All that shapes the answer of a contest, as JSON values.

    Args:
        contest: its recipe.
        items: side -> images.
        members: every `TrainedMember.describe()`, in order.
    """
    spec = contest.spec
    solution = sha256(locate(spec.solution, "the solution")) if spec.solution else ""
    counted = ("task", "ensemble", "enhance", "search", "post", "metrics", "submission")
    return {
        "contest": {key: getattr(spec, key) for key in counted},
        "subjects": msgspec.to_builtins(spec.subjects),
        "solution": solution,
        "images": {side: source_of(images) for side, images in items.items()},
        "labels": {side: digest([item.label for item in images]) for side, images in items.items()},
        "order": [one["name"] for one in members],
        "members": {one["name"]: one for one in members},
    }


def _rank_shown(answer: Answer, members: Sequence[Member]) -> Ranking:
    """What the page shows: an answer that is a label is shown by its nearest references."""
    if isinstance(answer, Ranking):
        return answer
    queries, reference = (_join_side(members, side) for side in ("QUERIES", "REFERENCE"))
    return retrieve(queries, reference, NEAREST)[-1]


def _join_side(members: Sequence[Member], side: str) -> Embeddings:
    """A side as all members see it."""
    return members[0].sides[side] if len(members) == 1 else concatenate_members(members, side)


def _open_sheet(contest: Contest, items: Items, home: pathlib.Path) -> tuple[Sheet, Items]:
    """The sheet of the contest, and the images it wants answered."""
    queries, solution = items["QUERIES"], contest.spec.solution
    if contest.recognizes:
        return RecognitionSheet.open(queries, items["REFERENCE"], solution, home), items
    if contest.spec.task == "digix":
        return DigixSheet.open(queries, items["GALLERY"], solution, home), items
    sheet = RetrievalSheet.open(queries, items["GALLERY"], solution, home)
    return sheet, {**items, "QUERIES": sheet.scored_queries(queries)}
