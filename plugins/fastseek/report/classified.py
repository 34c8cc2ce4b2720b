"""One self-contained HTML page of a classifier: figures, a table of rows, and the pairs of classes
it confuses.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from ..io.atomic import atomic
from ..io.paths import PathLike
from ..structures import Score
from .heat_map import as_uri
from .provenance_table import hide_folders
from .render import render
from .widgets import steps_table, tiles


@dataclasses.dataclass(frozen=True)
class Mistake:
    """One image taken for another class.

    Args:
        id: its name.
        label, said: its class, and the one it was taken for.
        share: the probability of `said`.
        image: a PNG, such as `overlay_heat` makes; None when it cannot be shown.
    """

    id: str
    label: str
    said: str
    share: float
    image: bytes | None = None

    @property
    def uri(self) -> str:
        """The image as a data URI, "" without one."""
        return as_uri(self.image) if self.image else ""


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two classes that are taken for each other: how many images each way, as a share of both, and
    some of them.
    """

    first: str
    second: str
    first_as_second: int
    second_as_first: int
    share: float
    mistakes: Sequence[Mistake] = ()


@dataclasses.dataclass(frozen=True)
class StepsTable:
    """Rows of results.json as a table of a page.

    Args:
        rows: in order.
        title: the heading.
        since_first: changes are since the first row, not since the row above.
    """

    rows: Sequence[Mapping[str, Any]] = ()
    title: str = "Step by step"
    since_first: bool = False


def classified_page(
    out: PathLike,
    *,
    title: str,
    scores: Sequence[Score] = (),
    steps: StepsTable | Sequence[Mapping[str, Any]] = (),
    pairs: Sequence[Pair] = (),
    facts: Sequence[tuple[str, str]] = (),
    **former: Any,
) -> None:
    """Write one HTML page that needs nothing else: no network, no other file, no script.

    Args:
        out: the file; the same input gives the same bytes.
        title: the heading; full paths in it are cut to their last name.
        scores: shown as tiles.
        steps: rows of results.json, or a table of them with its heading.
        pairs: confused classes, the worst first.
        facts: names and values below the heading.
        former: `steps_title` and `since_first`, as version 0.1 took them; they go with 0.2.
    """
    shown = _accept_former(steps, former)
    html = render(
        "classified.html",
        title=hide_folders(title),
        tiles=tiles(scores),
        steps=steps_table(shown.rows, shown.since_first) if shown.rows else None,
        steps_title=shown.title,
        pairs=pairs,
        facts=[(name, hide_folders(value)) for name, value in facts],
    )
    with atomic(out, "w") as file:
        file.write(html)


def _accept_former(
    steps: StepsTable | Sequence[Mapping[str, Any]], former: Mapping[str, Any]
) -> StepsTable:
    """The table, also where its heading was given in the way of version 0.1."""
    table = steps if isinstance(steps, StepsTable) else StepsTable(steps)
    if not former:
        return table
    warnings.warn(
        f"classified_page({', '.join(former)}=…) is classified_page(steps=StepsTable(…)); the old"
        " way goes with 0.2",
        DeprecationWarning,
        stacklevel=3,
    )
    fields = {"steps_title": "title", "since_first": "since_first"}
    return dataclasses.replace(table, **{fields[key]: value for key, value in former.items()})
