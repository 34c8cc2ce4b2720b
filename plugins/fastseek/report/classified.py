"""One self-contained HTML page of a classifier: figures, a table of rows, and the pairs of classes
it confuses.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from ..io.atomic import atomic
from ..io.paths import PathLike
from ..structures import Score
from .heat_map import as_uri
from .render import render
from .widgets import steps_table, tiles


@dataclasses.dataclass(frozen=True)
class Mistake:
    """One photo taken for another class.

    Args:
        id: its name.
        label, said: its class, and the one it was taken for.
        share: the probability of `said`.
        picture: a PNG, such as `heat.heated` makes; None when it cannot be shown.
    """

    id: str
    label: str
    said: str
    share: float
    picture: bytes | None = None

    @property
    def uri(self) -> str:
        """The picture as a data URI, "" without one."""
        return as_uri(self.picture) if self.picture else ""


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two classes that are taken for each other: how many photos each way, as a share of both, and
    some of them.
    """

    first: str
    second: str
    first_as_second: int
    second_as_first: int
    share: float
    mistakes: Sequence[Mistake] = ()


def classified_page(
    out: PathLike,
    *,
    title: str,
    scores: Sequence[Score] = (),
    steps: Sequence[Mapping[str, Any]] = (),
    steps_title: str = "Step by step",
    since_first: bool = False,
    pairs: Sequence[Pair] = (),
    facts: Sequence[tuple[str, str]] = (),
) -> None:
    """Write one HTML page that needs nothing else: no network, no other file, no script.

    Args:
        out: the file; the same input gives the same bytes.
        title: the heading.
        scores: shown as tiles.
        steps: rows of results.json, shown as a table.
        steps_title: its heading.
        since_first: changes are since its first row, not since the row above.
        pairs: confused classes, the worst first.
        facts: names and values below the heading.
    """
    html = render(
        "classified.html",
        title=title,
        tiles=tiles(scores),
        steps=steps_table(steps, since_first) if steps else None,
        steps_title=steps_title,
        pairs=pairs,
        facts=facts,
    )
    with atomic(out, "w") as file:
        file.write(html)
