"""In-Shop clothes retrieval."""

from __future__ import annotations

from collections.abc import Sequence

from ..registry import PROTOCOLS
from ..structures import Item, Task
from ..structures.task import needed_depth
from ._sides import figures, truth_by_label, two_sides

DEFINITION = "queries ask a gallery of other images for their item; views and colors do not matter"


@PROTOCOLS.register()
class InShop:
    """Queries ask the gallery of DeepFashion's In-Shop benchmark for images of their item: recall@k.

    An item is right whatever its view and color.

    Args:
        recall: the ks of recall@k.

    Source: Liu et al., DeepFashion: Powering Robust Clothes Recognition and Retrieval, CVPR 2016
    Example: in_shop()
    """

    def __init__(self, recall: tuple[int, ...] = (1, 10, 20, 30, 40, 50)) -> None:
        self.recall = tuple(recall)

    def tasks(self, items: Sequence[Item]) -> list[Task]:
        """The one task.

        Raises:
            DataError: there are no queries or there is no gallery.
        """
        queries, gallery = two_sides(items)
        truth = truth_by_label(queries, gallery, ("in_shop()", DEFINITION, ""))
        metrics = (figures("recall", self.recall),)
        depth = needed_depth(truth, max(self.recall))
        return [Task("", queries, gallery, truth, metrics, depth)]
