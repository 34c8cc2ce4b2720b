"""INRIA Holidays."""

from __future__ import annotations

from collections.abc import Sequence

from ..registry import PROTOCOLS
from ..structures import Item, Task
from ._sides import truth_by_label, two_sides

DEFINITION = "the first image of every group asks for the others; the query itself is junk"


@PROTOCOLS.register()
class Holidays:
    """The first image of every group asks for the others of its group: mAP with trapezoids.

    Queries may stand in the gallery, where each is junk for itself only.

    Source: Jégou, Douze and Schmid, Hamming Embedding and Weak Geometric Consistency for Large Scale
        Image Search, ECCV 2008
    Example: holidays()
    """

    def tasks(self, items: Sequence[Item]) -> list[Task]:
        """The one task.

        Raises:
            DataError: there are no queries or there is no gallery.
        """
        queries, gallery = two_sides(items)
        truth = truth_by_label(queries, gallery, ("holidays()", DEFINITION, ""))
        return [Task("", queries, gallery, truth, ("map(trapezoid=True)",), len(gallery))]
