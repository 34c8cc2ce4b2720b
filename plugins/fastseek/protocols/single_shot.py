"""Single shot: a gallery of one image an identity, as of CUHK03 in its first form."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..registry import PROTOCOLS, unparse
from ..structures import Item, Task
from ._sides import by_label, figures, select, truth_by_label

DEFINITION = (
    "queries ask a gallery of one image an identity, drawn at random; figures are means over"
    " {repeats} draws of seed {seed}"
)


@PROTOCOLS.register()
class SingleShot:
    """Queries ask a gallery of one random image of every identity; the mean over several draws: the
    single-shot CMC of CUHK03's 20 splits.

    Of every identity one image of the split "gallery" is drawn; data sets of this form hold the images
    of one camera as queries and those of the other as gallery.

    Args:
        repeats: how many draws.
        seed: of the draws.
        cmc: the ks of the match curve.

    Source: Li et al., DeepReID: Deep Filter Pairing Neural Network for Person Re-identification, CVPR 2014
    Example: single_shot(repeats=10)
    """

    def __init__(
        self, repeats: int = 10, seed: int = 0, cmc: tuple[int, ...] = (1, 5, 10, 20)
    ) -> None:
        self.repeats, self.seed, self.cmc = repeats, seed, tuple(cmc)

    def tasks(self, items: Sequence[Item]) -> list[Task]:
        """One task a draw.

        Raises:
            DataError: there are no queries or there is no gallery.
        """
        queries, gallery = select(items, "query"), select(items, "gallery")
        rows = list(by_label(gallery).values())
        return [self._draw(queries, gallery, rows, repeat) for repeat in range(self.repeats)]

    def _draw(
        self,
        queries: Sequence[Item],
        gallery: Sequence[Item],
        rows: Sequence[Sequence[int]],
        repeat: int,
    ) -> Task:
        random = np.random.default_rng([self.seed, repeat])
        drawn = [gallery[some[int(random.integers(len(some)))]] for some in rows]
        draws = {"repeats": self.repeats, "seed": self.seed}
        told = unparse("single_shot", [], draws), DEFINITION.format(**draws), f"draw{repeat}"
        truth = truth_by_label(queries, drawn, told)
        metrics = (figures("cmc", self.cmc),)
        return Task(told[2], queries, drawn, truth, metrics, len(drawn), ("tasks",))
