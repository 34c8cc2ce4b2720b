"""One self-contained HTML page: scores, and queries with what was found, the worst first."""

from __future__ import annotations

import dataclasses
import pathlib
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import ArtefactError
from ..io.atomic import atomic
from ..io.paths import PathLike
from ..structures import GroundTruth, Ranking, Score
from ..structures.listed_ids import same_ids
from .classes import class_rows, first_answers
from .image_names import ImageNames, Labels
from .provenance_table import facts, flat, hide_folders
from .query_cases import all_hits, case, pick, worst_first
from .render import render, text_of
from .thumbnails import Album, Images, ImageSources
from .widgets import histogram, steps_table, tiles

CLASSES = 300  # lines of the class table


@dataclasses.dataclass(frozen=True)
class PageLayout:
    """What a page shows besides the ranking itself.

    Args:
        title: the heading; full paths in it are cut to their last name.
        steps: rows of results.json (before training, after training …), shown as a table.
        depth: answers shown for each query.
        queries: queries shown at most: the worst ones, then a spread of the rest.
        order: the score that orders the queries; the first "map(…)" with a figure for every query
            when None.
        links: whether an image that is clicked links to its file, by a path relative to the page.
    """

    title: str = ""
    steps: Sequence[Mapping[str, Any]] = ()
    depth: int = 10
    queries: int = 200
    order: Score | None = None
    links: bool = False


USUAL = PageLayout()


def page(
    ranking: Ranking,
    truth: GroundTruth,
    scores: Sequence[Score],
    images: Images | ImageSources,
    out: PathLike,
    layout: PageLayout = USUAL,
    **former: Any,
) -> None:
    """Write one HTML page that needs nothing else: no network, no other file, no JavaScript to be
    read.

    Args:
        ranking: what was found.
        truth: what should have been found, for the same queries and gallery in the same order.
        scores: shown as tiles.
        images: where the images are: folders, or `ImageSources` that tell each side's. The roots
            that the ranking's provenance tells choose among these folders and open no other. An
            image that is found nowhere is shown as its name.
        out: the file; the same input gives the same bytes.
        layout: heading, steps, and how much is shown.
        former: fields of the layout, as version 0.1 took them; they go with 0.2.

    Raises:
        ArtefactError: ranking and truth, or a score, are not of the same queries and gallery.
    """
    layout = _accept_former(layout, former)
    _check(ranking, truth, [*scores, *([layout.order] if layout.order else [])])
    states, taken_for = first_answers(ranking, truth)
    order = layout.order or _ordering(scores, states)
    values = np.asarray(order.per_query, np.float64)
    rows = pick(worst_first(values, ranking, states), layout.queries)
    cases = [case(ranking, truth, int(row), layout.depth) for row in rows]
    names = ImageNames(
        ranking,
        images,
        [one.row for one in cases],
        [hit.row for one in cases for hit in all_hits(one)],
        Labels(truth.query_labels, truth.gallery_labels),
        pathlib.Path(out).parent if layout.links else None,
    )
    classes = class_rows(truth.query_labels, values, states, taken_for)
    html = _render(
        names.album,
        title=hide_folders(layout.title) or "What was searched, and what was found",
        order=order.name,
        names=names,
        tiles=tiles(scores),
        bars=histogram(values),
        steps=steps_table(layout.steps) if layout.steps else None,
        cases=[(one, values[one.row]) for one in cases],
        below_zero=any((hit.score or 0) < 0 for one in cases for hit in one.hits),
        states=states,
        depth=layout.depth,
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


def _accept_former(layout: PageLayout, former: Mapping[str, Any]) -> PageLayout:
    """The layout with what was given in the way of version 0.1."""
    if not former:
        return layout
    warnings.warn(
        f"page({', '.join(former)}=…) is page(layout=PageLayout(…)); the old way goes with 0.2",
        DeprecationWarning,
        stacklevel=3,
    )
    return dataclasses.replace(layout, **former)


def _check(ranking: Ranking, truth: GroundTruth, scores: Sequence[Score]) -> None:
    for what in ("query_ids", "gallery_ids"):
        ours, theirs = getattr(ranking, what), getattr(truth, what)
        if not same_ids(ours, theirs):
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


def _render(album: Album, **shown: Any) -> str:
    style = f":root {{ --columns: {min(max(shown['depth'], 1), 10)}; }}\n{album.css()}"
    return render("page.html", style, text_of("page.js"), shape=album.shape(), **shown)
