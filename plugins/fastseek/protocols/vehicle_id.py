"""VehicleID: a gallery of one image a vehicle, drawn anew in every repeat."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import DataError
from ..registry import PROTOCOLS, unparse
from ..structures import Item, Task
from ._sides import by_label, figures, select, truth_by_label

DEFINITION = (
    "one image of every vehicle, drawn at random, is the gallery and the others ask; figures are"
    " means over {repeats} draws of seed {seed}"
)


@PROTOCOLS.register()
class VehicleId:
    """One random image of every vehicle is the gallery, its others are the queries; the mean over
    several draws: CMC and mAP.

    Every query has one right image. The draws are ours: the paper's are not published.

    Args:
        repeats: how many draws.
        seed: of the draws.
        cmc: the ks of the match curve.

    Source: Liu et al., Deep Relative Distance Learning: Tell the Difference Between Similar Vehicles,
        CVPR 2016
    Example: vehicle_id(repeats=10)
    """

    def __init__(self, repeats: int = 10, seed: int = 0, cmc: tuple[int, ...] = (1, 5)) -> None:
        self.repeats, self.seed, self.cmc = repeats, seed, tuple(cmc)

    def tasks(self, items: Sequence[Item]) -> list[Task]:
        """One task a draw.

        Raises:
            DataError: no image is of the split "test", or no vehicle has two.
        """
        asked = select(items, "test")
        rows = list(by_label(asked).values())
        if not any(len(some) > 1 for some in rows):
            raise DataError("no vehicle of the split 'test' has two images, so nothing can ask")
        return [self._draw(asked, rows, repeat) for repeat in range(self.repeats)]

    def _draw(self, asked: Sequence[Item], rows: Sequence[Sequence[int]], repeat: int) -> Task:
        random = np.random.default_rng([self.seed, repeat])
        drawn = [some[int(random.integers(len(some)))] for some in rows]
        rest = sorted(set().union(*rows) - set(drawn))
        gallery, queries = ([asked[row] for row in some] for some in (drawn, rest))
        draws = {"repeats": self.repeats, "seed": self.seed}
        told = unparse("vehicle_id", [], draws), DEFINITION.format(**draws), f"split{repeat}"
        truth = truth_by_label(queries, gallery, told)
        metrics = (figures("cmc", self.cmc), "map()")
        return Task(told[2], queries, gallery, truth, metrics, len(gallery), ("tasks",))
