"""A contest from recipe to score: members trained and embedded, post-processed, fused, handed in,
scored, shown.
"""

from __future__ import annotations

import logging
import pathlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

from ...distributed.run_lock import hold_run_folder
from ...errors import UsageError
from ...io.code_version import current_commit
from ...io.paths import PathLike
from ...io.text_table import table
from ...metrics import evaluate
from ...recognition.predict import Predictions
from ...report import page, row, write_results
from ...retrieval import retrieve
from ...structures import GroundTruth, Item, Ranking, Score
from ...structures.splits import ground_truth_of_items
from ...training.run_setup import start_log
from .ensemble import Prediction, answers, concatenate_members, sides_needed, write_labels
from .members import Member, items_of, member
from .model_size import check_budget
from .spec import Contest, MemberSpec, read_contest
from .submission import DigixSheet, Recognised, Retrieval, Spans

logger = logging.getLogger("fastreid.fastseek")
Rows = list[dict[str, Any]]
Items = Mapping[str, Sequence[Item]]
SHOWN = (  # the neighbours of the reference that the page of a recognition contest shows
    "exact(k=20)"
)


def run_files(
    recipes: Sequence[PathLike], out: PathLike, short: bool = False, opts: Sequence[str] = ()
) -> str:
    """Run contest recipes one after the other; members they share are trained once.

    A killed run goes on where it stopped when it is started again: finished trainings and
        embeddings are kept, as long
    as the recipes they rest on say the same. Writes results.json with the rows of all, report.html
    for the first and report-NAME.html for the others, members/ and a folder of each contest with
    its submissions.

    Args:
        recipes: contest recipes.
        out: the folder of the run.
        short: take the changes of every recipe's SHORT.
        opts: KEY VALUE changes to every member's recipe.

    Returns:
        the table of figures as text, with the paths of the pages below it.

    Raises:
        UsageError: a recipe is wrong, told before anything is trained. DataError: photos, weights
            or a solution are missing. RunError: a training failed, or another process writes to
            `out`.
    """
    out, found = pathlib.Path(out), [read_contest(path) for path in recipes]
    _check(found, short)
    with hold_run_folder(out):
        start_log(str(out))
        runs = [_Run(one, out, [*_short(one, short), *opts], len(found) > 1) for one in found]
        for one in runs:
            one.go()
        rows = [line for one in runs for line in one.rows]
        write_results(out / "results.json", rows, current_commit(), runs[0].seed)
        pages = [
            one.show(out / ("report.html" if not number else f"report-{one.home.name}.html"), rows)
            for number, one in enumerate(runs)
        ]
    return "\n".join([table(rows), "", *(f"page: {path}" for path in pages)])


def _check(found: Sequence[Contest], short: bool) -> None:
    if not found:
        raise UsageError("no contest recipe is named")
    known: dict[str, tuple[str, MemberSpec]] = {}
    homes = [pathlib.Path(contest.path).stem for contest in found]
    if len(set(homes)) < len(homes):
        raise UsageError(
            f"contest recipes run together need different file names, got {', '.join(homes)}"
        )
    for contest in found:
        if short and not contest.short:
            raise UsageError(f"{contest.path} has no SHORT, so --short would change nothing")
        for one in contest.members:
            path, other = known.setdefault(one.name, (contest.path, one))
            if _training(one) != _training(other):
                raise UsageError(
                    f"member {one.name!r} of {contest.path} is another than that of {path}: name it"
                    " otherwise"
                )


def _training(one: MemberSpec) -> tuple[Any, ...]:
    return one.plan, one.recipe, one.weights, dict(one.settings), dict(one.embed)


def _short(contest: Contest, short: bool) -> list[str]:
    changes = contest.short.items() if short else ()
    return [
        part
        for key, value in changes
        for part in (key, value if isinstance(value, str) else repr(value))
    ]


class _Run:
    """One contest on its way."""

    def __init__(
        self, contest: Contest, out: pathlib.Path, opts: Sequence[str], several: bool
    ) -> None:
        self.contest, self.out, self.opts = contest, out, opts
        self.home = out / pathlib.Path(contest.path).stem
        self.several = several
        self.rows: Rows = []
        self.items = items_of(contest, sides_needed(contest))
        self.home.mkdir(parents=True, exist_ok=True)
        self.sheet = _sheet(contest, self.items, self.home)
        if isinstance(self.sheet, Retrieval):
            self.items["QUERIES"] = self.sheet.scored(self.items["QUERIES"])
        self.truths: dict[str, GroundTruth] = {}

    def go(self) -> None:
        """Train, embed, answer, hand in and score."""
        self.members = [
            member(one, self.items, self.out / "members" / one.name, self.opts)
            for one in self.contest.members
        ]
        check_budget({one.entrant.name: one.size for one in self.members}, self.contest.budget)
        self.seed = self.members[0].seed
        if "REFERENCE" in self.items:
            write_labels(self.home / "labels.csv", self.items["REFERENCE"])
        for said in answers(self.contest, self.members, self.items, self.home):
            start = time.monotonic()
            file = self.home / "submissions" / f"{said.name.replace(' ', '_')}.csv"
            scores, spans = self.sheet.submit(file, said.answer)
            self.last, self.scores = said, [*scores, *self._more(said, scores)]
            self.rows.append(self._row(said, spans, time.monotonic() - start))
            logger.info(
                "%s: %s",
                self.rows[-1]["name"],
                ", ".join(f"{score.name} {100 * score.value:.2f}" for score in self.scores),
            )
        self.sheet.submit(self.home / self.contest.submission, self.last.answer)
        if isinstance(self.last.answer, Ranking):
            self.last.answer.save(self.home / "ranking.npz")

    def _more(self, said: Prediction, scores: Sequence[Score]) -> list[Score]:
        """The recipe's own figures, but for those the contest's sheet tells."""
        if not self.contest.metrics or not isinstance(said.answer, Ranking):
            return []
        told = {score.name for score in scores}
        found = evaluate(
            said.answer, self._truth(said.answer, "GALLERY"), list(self.contest.metrics)
        )
        return [score for score in found if score.name not in told]

    def _row(self, said: Prediction, spans: Spans, seconds: float) -> dict[str, Any]:
        name = f"{self.home.name}: {said.name}" if self.several else said.name
        made = row(name, self.scores, said.seconds + seconds)
        made["interval"] |= spans
        return made

    def _truth(self, ranking: Ranking, side: str) -> GroundTruth:
        """Who answers whom, over the photos of a ranking; all rankings of a contest have the
        same.
        """
        if side not in self.truths:
            asked, known = (
                {item.id: item for item in self.items[part]} for part in ("QUERIES", side)
            )
            self.truths[side] = ground_truth_of_items(
                [asked[name] for name in ranking.query_ids.tolist()],
                [known[name] for name in ranking.gallery_ids.tolist()],
            )
        return self.truths[side]

    def show(self, out: pathlib.Path, rows: Rows) -> pathlib.Path:
        """Write the page of the last answer."""
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
        if isinstance(self.last.answer, Predictions):
            sides = [_together(self.members, side) for side in ("QUERIES", "REFERENCE")]
            return retrieve(*sides, SHOWN)[-1], "REFERENCE"
        return self.last.answer, "GALLERY"


def _together(members: Sequence[Member], side: str) -> Any:
    return concatenate_members(members, side) if len(members) > 1 else members[0].sides[side]


def _sheet(
    contest: Contest, items: Items, home: pathlib.Path
) -> Retrieval | Recognised | DigixSheet:
    if contest.task == "gldv2-recognition":
        return Recognised.open(items["QUERIES"], items["REFERENCE"], contest.solution, home)
    kind = Retrieval if contest.task == "gldv2-retrieval" else DigixSheet
    return kind.open(items["QUERIES"], items["GALLERY"], contest.solution, home)
