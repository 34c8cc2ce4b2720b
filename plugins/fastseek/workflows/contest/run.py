"""A contest from recipe to score: members trained and embedded, post-processed, fused, handed in,
scored, shown.
"""

from __future__ import annotations

import logging
import pathlib
import time
from collections.abc import Sequence
from typing import Any

from ...audit.size_budget import check_budget
from ...distributed.run_lock import hold_run_folder
from ...errors import UsageError
from ...io.code_version import current_commit
from ...io.paths import PathLike
from ...io.text_table import table
from ...metrics import evaluate
from ...recognition.predict import Predictions
from ...report import page, row, write_results
from ...retrieval import retrieve
from ...structures import Embeddings, GroundTruth, Ranking, Score
from ...training.run_setup import start_log
from .ensemble import Prediction, concatenate_members, list_sides, predict, write_labels
from .members import Items, Member, key_value_pairs, load_sides, prepare_member
from .spec import Contest, MemberSpec, read_contest
from .submission import DigixSheet, Intervals, RecognitionSheet, RetrievalSheet, Sheet

logger = logging.getLogger("fastreid.fastseek")
Rows = list[dict[str, Any]]
SHOWN = "exact(k=20)"  # neighbors of the reference that the page of a recognition contest shows


def run_files(
    recipes: Sequence[PathLike], out: PathLike, short: bool = False, opts: Sequence[str] = ()
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

    Returns:
        the table of figures as text, with the paths of the pages below it.

    Raises:
        UsageError: a recipe is wrong, found before anything is trained. DataError: images, weights
            or a solution are missing. RunError: a training failed, or another process writes to
            `out`.
    """
    out, contests = pathlib.Path(out), [read_contest(path) for path in recipes]
    _check(contests, short)
    with hold_run_folder(out):
        start_log(str(out))
        runs = [_Run(one, out, _options(one, short, opts), len(contests) > 1) for one in contests]
        for run in runs:
            run.run()
        rows = [line for run in runs for line in run.rows]
        write_results(out / "results.json", rows, current_commit(), runs[0].seed)
        names = ["report.html", *(f"report-{run.home.name}.html" for run in runs[1:])]
        pages = [run.write_page(out / name, rows) for run, name in zip(runs, names, strict=True)]
    return "\n".join([table(rows), "", *(f"page: {path}" for path in pages)])


def _check(contests: Sequence[Contest], short: bool) -> None:
    if not contests:
        raise UsageError("no contest recipe is named")
    homes = [pathlib.Path(contest.path).stem for contest in contests]
    if len(set(homes)) < len(homes):
        raise UsageError(
            f"contest recipes run together need different file names, got {', '.join(homes)}"
        )
    known: dict[str, tuple[str, MemberSpec]] = {}
    for contest in contests:
        if short and not contest.short:
            raise UsageError(f"{contest.path} has no SHORT, so --short would change nothing")
        for member in contest.members:
            # Members of one name lie in one folder, so they must be one training.
            path, other = known.setdefault(member.name, (contest.path, member))
            if _training_of(member) != _training_of(other):
                raise UsageError(
                    f"member {member.name!r} of {contest.path} is another than that of {path}: name"
                    " it otherwise"
                )


def _training_of(member: MemberSpec) -> tuple[Any, ...]:
    return (
        member.plan,
        member.recipe,
        member.weights,
        dict(member.settings),
        dict(member.embed),
    )


def _options(contest: Contest, short: bool, opts: Sequence[str]) -> list[str]:
    """KEY VALUE changes to every member: those of SHORT, then the command line's."""
    return [*(key_value_pairs(contest.short) if short else ()), *opts]


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
        self.home = out / pathlib.Path(contest.path).stem
        self.prefix = f"{self.home.name}: " if several else ""
        self.rows: Rows = []
        self.home.mkdir(parents=True, exist_ok=True)
        self.sheet, self.items = _open_sheet(
            contest, load_sides(contest, list_sides(contest)), self.home
        )
        self.truths: dict[str, GroundTruth] = {}

    def run(self) -> None:
        """Train, embed, predict, hand in and score."""
        self.members = self._prepare_members()
        self.seed = self.members[0].seed
        if "REFERENCE" in self.items:
            write_labels(self.home / "labels.csv", self.items["REFERENCE"])
        for prediction in predict(self.contest, self.members, self.items, self.home):
            self._submit(prediction)
        answer = self.last.answer
        self.sheet.submit(self.home / self.contest.submission, answer)
        if isinstance(answer, Ranking):
            answer.save(self.home / "ranking.npz")

    def _prepare_members(self) -> list[Member]:
        members = [
            prepare_member(spec, self.items, self.out / "members" / spec.name, self.opts)
            for spec in self.contest.members
        ]
        if self.contest.budget:
            sizes = {member.spec.name: member.size for member in members}
            check_budget(sizes, self.contest.budget, f"{self.contest.path}: BUDGET_MB: ")
        return members

    def _submit(self, prediction: Prediction) -> None:
        """Hand in one answer and note its row."""
        start = time.monotonic()
        file = self.home / "submissions" / f"{prediction.name.replace(' ', '_')}.csv"
        scores, intervals = self.sheet.submit(file, prediction.answer)
        self.last = prediction
        self.scores = [*scores, *self._more_scores(prediction, scores)]
        seconds = prediction.seconds + time.monotonic() - start
        self.rows.append(self._row(prediction.name, seconds, intervals))
        figures = [f"{score.name} {100 * score.value:.2f}" for score in self.scores]
        logger.info("%s: %s", self.rows[-1]["name"], ", ".join(figures))

    def _more_scores(self, prediction: Prediction, scores: Sequence[Score]) -> list[Score]:
        """The recipe's own metrics, but for those the contest's sheet has."""
        answer, calls = prediction.answer, list(self.contest.metrics)
        if not calls or not isinstance(answer, Ranking):
            return []
        known = {score.name for score in scores}
        found = evaluate(answer, self._truth(answer, "GALLERY"), calls)
        return [score for score in found if score.name not in known]

    def _row(self, name: str, seconds: float, intervals: Intervals) -> dict[str, Any]:
        made = row(f"{self.prefix}{name}", self.scores, seconds)
        made["interval"] |= intervals
        return made

    def _truth(self, ranking: Ranking, side: str) -> GroundTruth:
        """Who answers whom, over the images of a ranking; all rankings of a contest have the
        same.
        """
        if side not in self.truths:
            queries = {item.id: item for item in self.items["QUERIES"]}
            gallery = {item.id: item for item in self.items[side]}
            self.truths[side] = GroundTruth.from_items(
                [queries[name] for name in ranking.query_ids.tolist()],
                [gallery[name] for name in ranking.gallery_ids.tolist()],
            )
        return self.truths[side]

    def write_page(self, out: pathlib.Path, rows: Rows) -> pathlib.Path:
        """Write the page of the last answer; returns its path."""
        ranking, side = self._shown()
        files = {item.id: item.path for part in ("QUERIES", side) for item in self.items[part]}
        page(
            ranking,
            self._truth(ranking, side),
            self.scores,
            images=files,
            out=out,
            title=self.contest.name,
            steps=rows,
        )
        return out

    def _shown(self) -> tuple[Ranking, str]:
        """What the page shows, and of which side; labels are shown by their nearest references."""
        answer = self.last.answer
        if not isinstance(answer, Predictions):
            return answer, "GALLERY"
        queries, reference = self._whole("QUERIES"), self._whole("REFERENCE")
        return retrieve(queries, reference, SHOWN)[-1], "REFERENCE"

    def _whole(self, side: str) -> Embeddings:
        """A side as all members see it."""
        if len(self.members) == 1:
            return self.members[0].sides[side]
        return concatenate_members(self.members, side)


def _open_sheet(contest: Contest, items: Items, home: pathlib.Path) -> tuple[Sheet, Items]:
    """The sheet of the contest, and the images it wants answered."""
    queries, solution = items["QUERIES"], contest.solution
    if contest.task == "gldv2-recognition":
        return RecognitionSheet.open(queries, items["REFERENCE"], solution, home), items
    if contest.task == "digix":
        return DigixSheet.open(queries, items["GALLERY"], solution, home), items
    sheet = RetrievalSheet.open(queries, items["GALLERY"], solution, home)
    return sheet, {**items, "QUERIES": sheet.scored_queries(queries)}
