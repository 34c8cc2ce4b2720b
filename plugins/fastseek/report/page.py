"""One self-contained HTML page: scores, and queries with what was found, the worst first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import ArtefactError
from ..io.atomic import atomic
from ..io.paths import PathLike
from ..structures import GroundTruth, Ranking, Score
from .classes import class_rows, first_answers
from .provenance_table import facts, flat
from .query_cases import Case, Hit, case, pick, worst_first
from .render import render, text_of
from .thumbnails import Album, Images, find
from .widgets import histogram, steps_table, tiles

CLASSES = 300  # lines of the class table


def page(
    ranking: Ranking,
    truth: GroundTruth,
    scores: Sequence[Score],
    images: Images,
    out: PathLike,
    *,
    title: str = "",
    steps: Sequence[Mapping[str, Any]] = (),
    depth: int = 10,
    queries: int = 200,
    order: Score | None = None,
) -> None:
    """Write one HTML page that needs nothing else: no network, no other file, no JavaScript to be
    read.

    Args:
        ranking: what was found.
        truth: what should have been found, for the same queries and gallery in the same order.
        scores: shown as tiles; the first "map(…)" with a figure for every query also orders the
            queries.
        images: where the photos are: id -> file, a root folder, or several; beside them the roots
            that the ranking's provenance names are tried. A photo that is found nowhere is shown as
            its name.
        out: the file; the same input gives the same bytes.
        title: the heading.
        steps: rows of results.json (before training, after training …), shown as a table.
        depth: answers shown for each query.
        queries: queries shown at most: the worst ones, then a spread of the rest.
        order: the score that orders the queries instead.

    Raises:
        ArtefactError: ranking and truth, or a score, are not of the same queries and gallery.
    """
    _check(ranking, truth, [*scores, *([order] if order else [])])
    states, taken_for = first_answers(ranking, truth)
    order = order or _ordering(scores, states)
    values = np.asarray(order.per_query, np.float64)
    rows = pick(worst_first(values, ranking, states), queries)
    cases = [case(ranking, truth, int(row), depth) for row in rows]
    names = _Names(ranking, truth, images, cases)
    classes = class_rows(truth.query_labels, values, states, taken_for)
    html = _render(
        names.album,
        title=title or "What was searched, and what was found",
        order=order.name,
        names=names,
        tiles=tiles(scores),
        bars=histogram(values),
        steps=steps_table(steps) if steps else None,
        cases=[(one, values[one.row]) for one in cases],
        states=states,
        depth=depth,
        queries=len(ranking.query_ids),
        gallery=len(ranking.gallery_ids),
        labels=len(set(truth.query_labels) - {""}),
        classes=classes[:CLASSES],
        classes_left=max(len(classes) - CLASSES, 0),
        facts=facts(ranking.provenance),
        listed=ranking.indices.shape[1],
        provenances=[
            ("Ranking", flat(ranking.provenance)),
            ("Truth", flat(truth.protocol)),
            *((f"Score {score.name}", flat(score.protocol)) for score in scores),
        ],
    )
    with atomic(out, "w") as file:
        file.write(html)


def _check(ranking: Ranking, truth: GroundTruth, scores: Sequence[Score]) -> None:
    for what in ("query_ids", "gallery_ids"):
        ours, theirs = getattr(ranking, what), getattr(truth, what)
        if not np.array_equal(ours, theirs):
            raise ArtefactError(
                f"the ranking's {len(ours)} {what} are not the truth's {len(theirs)}: "
                f"make the truth from the same lists that were searched"
            )
    for score in scores:
        if score.per_query is not None and len(score.per_query) != len(ranking.query_ids):
            raise ArtefactError(
                f"{score.name} was scored for {len(score.per_query)} queries, the ranking has "
                f"{len(ranking.query_ids)}: score this ranking anew"
            )


def _ordering(scores: Sequence[Score], states: list[str]) -> Score:
    known = [score for score in scores if score.per_query is not None]
    by_map = [score for score in known if score.name.startswith("map")]
    first = np.array([{"right": 1.0, "wrong": 0.0, "open": np.nan}[state] for state in states])
    return next(iter([*by_map, *known]), Score("right first answer", 0.0, first))


class _Names:
    """What the template asks of an image: its id, label and picture."""

    def __init__(
        self, ranking: Ranking, truth: GroundTruth, images: Images, cases: Sequence[Case]
    ) -> None:
        roots = [
            dict(ranking.provenance.get(side) or {}).get("root") for side in ("queries", "gallery")
        ]
        asked = [one.row for one in cases]
        shown = dict.fromkeys(
            hit.row for one in cases for hit in [*one.hits, *([one.missed] if one.missed else [])]
        )
        self._queries = {row: find(str(ranking.query_ids[row]), images, roots[0]) for row in asked}
        self._gallery = {
            row: find(str(ranking.gallery_ids[row]), images, roots[1]) for row in shown
        }
        self.album = Album(
            path for path in [*self._queries.values(), *self._gallery.values()] if path
        )
        self._ranking, self._truth = ranking, truth

    def query(self, one: Case) -> dict[str, str]:
        return _name_hits(
            self._ranking.query_ids,
            self._truth.query_labels,
            one.row,
            self.album.name(self._queries[one.row]),
        )

    def hit(self, one: Hit) -> dict[str, str]:
        return _name_hits(
            self._ranking.gallery_ids,
            self._truth.gallery_labels,
            one.row,
            self.album.name(self._gallery[one.row]),
        )


def _name_hits(ids: np.ndarray, labels: np.ndarray, row: int, photo: str) -> dict[str, str]:
    name = str(ids[row])
    return {
        "id": name,
        "file": name.replace("\\", "/").rsplit("/", 1)[-1],
        "label": str(labels[row]),
        "photo": photo,
    }


def _render(album: Album, **shown: Any) -> str:
    style = f":root {{ --columns: {min(max(shown['depth'], 1), 10)}; }}\n{album.css()}"
    return render("page.html", style, text_of("page.js"), shape=album.shape(), **shown)
