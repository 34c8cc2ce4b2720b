"""One self-contained HTML page of queries with what was found, where nobody knows what is right."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from ..io.atomic import atomic
from ..io.paths import PathLike
from ..structures import Ranking
from ..structures.identity import compare_ids
from .image_names import ImageNames, Labels
from .provenance_table import facts, flat, hide_folders
from .query_cases import Case, Hit, pick
from .render import render, text_of
from .thumbnails import Images, ImageSources, Thumbnails


@dataclasses.dataclass(frozen=True)
class NeighborsLayout:
    """What a page of answers shows besides the ranking itself.

    Args:
        title: the heading; full paths in it are cut to their last name.
        depth: answers shown for each query.
        queries: queries shown at most, spread evenly over all.
        notes: sentences below the heading.
        renew: the seconds after which a browser loads the page again, for a page that is still
            growing; 0 for one that is whole.
        until: the time, in seconds since 1970, from which on it does not, since whoever writes it
            has stopped, and the page says so.
        links: whether an image that is clicked links to its file, by a path relative to the page.
        labels: id -> label of the gallery, shown with every answer; and with a query, where that is
            an image of the gallery's folder.
    """

    title: str = ""
    depth: int = 10
    queries: int = 200
    notes: Sequence[str] = ()
    renew: int = 0
    until: int = 0
    links: bool = False
    labels: Mapping[str, str] | None = None


USUAL = NeighborsLayout()


def neighbors_page(
    ranking: Ranking,
    images: Images | ImageSources,
    out: PathLike,
    layout: NeighborsLayout = USUAL,
    known: Thumbnails | None = None,
) -> None:
    """Write one HTML page that needs nothing else: no network, no other file, no JavaScript to be
    read.

    A query that stands in the gallery is no answer to itself and is left out there.

    Args:
        ranking: what was found.
        images: where the images are, as for `page`.
        out: the file; the same input gives the same bytes.
        layout: heading, notes, and how much is shown.
        known: thumbnails made earlier; those made now are added.
    """
    rows = pick(np.arange(len(ranking.query_ids)), layout.queries, worst=0.0)
    cases = _make_cases(ranking, rows, layout.depth)
    home = pathlib.Path(out).parent if layout.links else None
    labels = _find_labels(ranking, cases, layout.labels)
    names = ImageNames(ranking, images, *_list_rows(cases), labels, home=home, known=known)
    html = render(
        "neighbors.html",
        f":root {{ --columns: {min(layout.depth, 10)}; }}\n{names.album.css()}",
        text_of("page.js"),
        title=hide_folders(layout.title) or "What was searched, and what was found",
        shape=names.album.shape(),
        names=names,
        cases=cases,
        queries=len(ranking.query_ids),
        gallery=len(ranking.gallery_ids),
        notes=[hide_folders(note) for note in layout.notes],
        renew=layout.renew,
        until=layout.until,
        below_zero=any((hit.score or 0) < 0 for one in cases for hit in one.hits),
        facts=facts(ranking.provenance),
        provenances=[("Ranking", flat(ranking.provenance))],
    )
    with atomic(out, "w") as file:
        file.write(html)


def neighbors_grid(
    ranking: Ranking, images: Images | ImageSources, layout: NeighborsLayout = USUAL
) -> str:
    """The first queries with their answers as a table in HTML, to stand in another page such as a
    notebook; it has neither a style nor a script of its own.

    The arguments are those of `neighbors_page`; title, renew, until and links have no meaning here.
    """
    rows = np.arange(min(layout.queries, len(ranking.query_ids)))
    cases = _make_cases(ranking, rows, layout.depth)
    names = ImageNames(
        ranking, images, *_list_rows(cases), _find_labels(ranking, cases, layout.labels)
    )
    return render("grid.html", names=names, cases=cases, notes=layout.notes)


def _find_labels(
    ranking: Ranking, cases: Sequence[Case], labels: Mapping[str, str] | None
) -> Labels | None:
    """The labels of both sides; row 0 of one file is not row 0 of another, so that only queries of
    the gallery's folder have one.
    """
    if labels is None:
        return None
    found = np.array(_list_rows(cases)[1], np.int64)
    names = ranking.gallery_ids[found]
    same = compare_ids(ranking.query_ids, names, ranking.provenance) is not None
    asked = [labels.get(name, "") if same else "" for name in ranking.query_ids.tolist()]
    told = [labels.get(name, "") for name in names.tolist()]
    return Labels(asked, dict(zip(found.tolist(), told, strict=True)))


def _list_rows(cases: Sequence[Case]) -> tuple[list[int], list[int]]:
    """The queries and the gallery images that are shown, by their rows."""
    return [one.row for one in cases], [hit.row for one in cases for hit in one.hits]


def _make_cases(ranking: Ranking, rows: np.ndarray, depth: int) -> list[Case]:
    """The queries of some rows, each with the first `depth` of its list, itself left out."""
    listed = np.unique(ranking.indices[rows])
    listed = listed[listed >= 0]
    comparable = compare_ids(ranking.query_ids, ranking.gallery_ids[listed], ranking.provenance)
    row_of = {} if comparable is None else _number(comparable.gallery, listed)
    cases = []
    for row in rows.tolist():
        own = -1 if comparable is None else row_of.get(str(comparable.queries[row]), -1)
        hits = _list_answers(ranking, row, own)[:depth]
        cases.append(Case(row, "", tuple(hits), None, 0, 0))
    return cases


def _number(names: np.ndarray, rows: np.ndarray) -> dict[str, int]:
    return dict(zip(names.tolist(), rows.tolist(), strict=True))


def _list_answers(ranking: Ranking, row: int, own: int) -> list[Hit]:
    """The whole list of query number `row` without the gallery image `own`, which it is itself."""
    pairs = zip(ranking.indices[row].tolist(), ranking.scores[row].tolist(), strict=True)
    kept = [(index, score) for index, score in pairs if index >= 0 and index != own]
    return [Hit(index, rank, "", score) for rank, (index, score) in enumerate(kept, 1)]
