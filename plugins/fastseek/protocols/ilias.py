"""ILIAS: instances among many distractors."""

from __future__ import annotations

from collections.abc import Sequence

from ..registry import PROTOCOLS, unparse
from ..structures import Item, Task
from ..structures.task import needed_depth
from ._sides import truth_by_label, two_sides

DEFINITION = (
    "queries ask for their instance among positives and distractors; AP over the first {k} places"
    " is divided by min(positives, {k})"
)


@PROTOCOLS.register()
class Ilias:
    """Queries ask for images of their instance among positives ("gallery") and distractors: mAP@k.

    AP@k = 1 / min(P, k) * sum over the positives within the first k places of the precision there,
    where P is the number of the query's positives; the mean is over all queries.

    Args:
        k: how many places count.

    Source: Kordopatis-Zilos et al., ILIAS: Instance-Level Image retrieval At Scale, CVPR 2025 (arXiv
        2502.11748)
    Example: ilias(k=1000)
    """

    def __init__(self, k: int = 1000) -> None:
        self.k = k

    def tasks(self, items: Sequence[Item]) -> list[Task]:
        """The one task.

        Raises:
            DataError: there are no queries or there is no gallery.
        """
        queries, gallery = two_sides(items)
        told = unparse("ilias", [], {"k": self.k}), DEFINITION.format(k=self.k), ""
        truth = truth_by_label(queries, gallery, told)
        depth = needed_depth(truth, self.k)
        return [Task("", queries, gallery, truth, (f"map({self.k})",), depth)]
