"""Answers with their images: below a notebook's cell, or on a page."""

from __future__ import annotations

import os
import pathlib
import sys
import tempfile
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..io.file_kinds import PAGE, check_written_over
from ..io.paths import PathLike
from ..io.text_table import count_noun
from ..structures import Ranking
from ..structures.answers import find_form
from ..structures.identity import root_of

if TYPE_CHECKING:
    from ..report import NeighborsLayout

Images = Mapping[str, PathLike] | PathLike | Sequence[PathLike] | None


class Shown:
    """What `show` gives: a notebook displays it, elsewhere it tells where the page is.

    Args:
        ranking: what was found.
        images: where the images are.
        layout: what is shown in a notebook.
        page: the page that was written; None without one.
    """

    def __init__(
        self,
        ranking: Ranking,
        images: Images,
        layout: NeighborsLayout,
        page: pathlib.Path | None = None,
    ) -> None:
        self.page = page
        self._ranking, self._images, self._layout = ranking, images, layout

    def __repr__(self) -> str:
        count = len(self._ranking.query_ids)
        return count_noun(count, "query", "queries") + (
            f", shown on {self.page}" if self.page else ""
        )

    def _repr_html_(self) -> str:
        from ..report import neighbors_grid  # a search does without pages

        return neighbors_grid(self._ranking, self._images, self._layout)


def show(
    ranking: Ranking,
    images: Images = None,
    queries: int = 10,
    depth: int = 8,
    out: PathLike | None = None,
    force: bool = False,
    labels: Mapping[str, str] | None = None,
) -> Shown:
    """Show queries with the images that were found for them.

    A notebook shows the first ones below its cell. Elsewhere a page that needs no other file is
    written and opened in the browser where there is one.

    Args:
        ranking: what was found.
        images: the folder the ids are relative to, or several, or a mapping id -> file. Without
            it the ids stand alone: a ranking may come from a stranger, so the folders that it
            names are not looked into unasked.
        queries: queries shown in a notebook; a page has up to 200.
        depth: answers shown for each.
        out: the page, .html; it is written in a notebook, too, and is not opened.
        force: whether a file that is no page is replaced, too.
        labels: id -> label of the gallery, shown with the answers.

    Raises:
        UsageError: `out` cannot be written, its name says another kind of file, or one of another
            kind is there.
    """
    from ..report import NeighborsLayout, neighbors_page  # a search does without pages

    if out is not None:
        find_form(out, (PAGE,))
        check_written_over(out, "page", force)
    notes = [] if images is not None else _suggest_images(ranking)
    told: dict[str, Any] = {"depth": depth, "notes": notes, "labels": labels}
    if out is None and _is_notebook():
        return Shown(ranking, images, NeighborsLayout(queries=queries, **told))
    page = _name_page() if out is None else pathlib.Path(out)
    neighbors_page(ranking, images, page, NeighborsLayout(**told))
    if out is None:
        from ..report.browser import open_page

        open_page(page)
    return Shown(ranking, images, NeighborsLayout(queries=queries, **told), page)


def _suggest_images(ranking: Ranking) -> list[str]:
    root = root_of(ranking.provenance, "gallery")
    return [f"Without images; to see them: show(images={root!r})"] if os.path.isabs(root) else []


def _name_page() -> pathlib.Path:
    return pathlib.Path(tempfile.mkdtemp(prefix="fastseek-")) / "answers.html"


def _is_notebook() -> bool:
    """Whether this process is the kernel of a notebook, which shows what a cell ends with."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return hasattr(shell, "kernel")
