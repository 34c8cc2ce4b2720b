"""Measured figures, and the laws by which they grow with the number of images."""

from __future__ import annotations

import math
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..errors import DataError
from ..io.json_files import read_json
from ..io.paths import PathLike

SHIPPED = pathlib.Path(__file__).parent / "growth.json"
ALONE, AMONG_MANY = "query cpu ms", "query among many, cpu ms"
CEILING = 2.5  # of the power that a cost may grow with


class Measured(NamedTuple):
    """One run.

    Args:
        engine: what was measured: "folder", "exact", "hnsw" …
        images, dim: how many vectors of how many numbers.
        figures: by name, such as "bytes" or "query cpu ms".
        source: the file of benchmarks/results it stands in.
    """

    engine: str
    images: int
    dim: int
    figures: dict[str, float]
    source: str


class Law(NamedTuple):
    """A cost of fixed + factor * images ** power, and what it was found from.

    Args:
        factor, power: of the law; where one size was measured the power is 1.
        sizes: the numbers of images that were measured, rising.
        sources: the files they stand in.
        fixed: the part that does not grow.
    """

    factor: float
    power: float
    sizes: tuple[int, ...]
    sources: tuple[str, ...]
    fixed: float = 0.0

    def at(self, images: float) -> float:
        """The cost of so many images."""
        return float(self.fixed + self.factor * images**self.power)

    def reach(self, cost: float) -> float:
        """How many images come to so much; infinity where the cost does not grow."""
        if self.power <= 0 or self.factor <= 0:
            return math.inf
        try:
            return float((max(0.0, cost - self.fixed) / self.factor) ** (1 / self.power))
        except OverflowError:
            return math.inf


def load_growth(path: PathLike = SHIPPED) -> list[Measured]:
    """The runs that a file tells of; those of the package where none is named.

    Raises:
        DataError: it is no such file.
    """
    page = read_json(path)
    try:
        return [_read(row) for row in page["rows"]]
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: no file of measured growth ({error!r})") from error


def _read(row: dict[str, Any]) -> Measured:
    figures = {str(name): float(value) for name, value in row["figures"].items()}
    images, dim = int(row["images"]), int(row["dim"])
    if images < 1 or dim < 1 or not all(map(math.isfinite, figures.values())):
        raise ValueError(f"{row}")
    return Measured(str(row["engine"]), images, dim, figures, str(row["source"]))


def find_time_law(
    runs: Sequence[Measured],
    engine: str,
    figure: str,
    dim: int,
    least: float = 0.0,
    most: float = CEILING,
) -> Law | None:
    """How seconds grow: a power of the number of images through the measured sizes; vectors of other
    widths are taken to cost in proportion to these.

    Args:
        runs: what was measured.
        engine: whose.
        figure: which seconds.
        dim: numbers of a vector.
        least, most: the powers that are known to be reached, and not passed, in the end, whatever
            small sizes show.

    Returns:
        None where nothing was measured.
    """
    known = [run for run in runs if run.engine == engine and run.figures.get(figure, 0) > 0]
    if not known:
        return None
    costs = {
        size: float(
            np.mean([run.figures[figure] * dim / run.dim for run in known if run.images == size])
        )
        for size in sorted({run.images for run in known})
    }
    sizes, power = tuple(costs), min(max(1.0, least), most)
    if len(sizes) > 1:
        slope = np.polyfit(np.log(sizes), np.log(list(costs.values())), 1)[0]
        power = float(np.clip(slope, least, most))
    # Through the largest size: it is nearest to what is asked for.
    factor = costs[sizes[-1]] / sizes[-1] ** power
    return Law(factor, power, sizes, _sources(known))


def find_query_law(
    runs: Sequence[Measured], engine: str, dim: int, least: float = 0.0, most: float = CEILING
) -> Law | None:
    """How the milliseconds of one query grow: what a query takes among many, by `find_time_law`, and
    what being asked alone adds, which neither images nor width change.

    Where queries were not measured among many, all of it is taken to grow. The arguments are those
    of `find_time_law`.
    """
    law = find_time_law(runs, engine, AMONG_MANY, dim, least, most)
    if law is None:
        return find_time_law(runs, engine, ALONE, dim, least, most)
    known = [run for run in runs if run.engine == engine]
    among = {
        (run.images, run.dim): run.figures[AMONG_MANY] for run in known if AMONG_MANY in run.figures
    }
    added = [
        run.figures[ALONE] - among[run.images, run.dim]
        for run in known
        if ALONE in run.figures and (run.images, run.dim) in among
    ]
    # The least of those that were measured both ways: a busy machine only adds to it.
    return law._replace(fixed=max(0.0, min(added, default=0.0)))


def find_byte_law(runs: Sequence[Measured], engine: str, figure: str, dim: int) -> Law | None:
    """How bytes grow: in proportion to the number of images, for each a part that stays and one that
    grows with the width of the vectors, as far as several widths were measured.

    The arguments are those of `find_time_law`.
    """
    known = [run for run in runs if run.engine == engine and run.figures.get(figure, 0) > 0]
    if not known:
        return None
    largest = max(known, key=lambda run: run.images)
    cost = largest.figures[figure] / largest.images
    slope = _slope(known, figure)
    # What was measured of one width only is taken to be all of the vectors.
    grown = cost / largest.dim if slope is None else max(slope, 0.0)
    cost = max(cost + grown * (dim - largest.dim), 0.0)
    sizes = tuple(sorted({run.images for run in known}))
    return Law(cost, 1.0, sizes, _sources(known))


def _slope(runs: Sequence[Measured], figure: str) -> float | None:
    """How many bytes a further number of every vector takes, an image; None where no size was
    measured at two widths.
    """
    for size in sorted({run.images for run in runs}, reverse=True):
        alike = [run for run in runs if run.images == size]
        widths = [run.dim for run in alike]
        if len(set(widths)) > 1:
            return float(np.polyfit(widths, [run.figures[figure] / size for run in alike], 1)[0])
    return None


def _sources(runs: Sequence[Measured]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(run.source for run in runs))
