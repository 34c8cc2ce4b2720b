"""Each test image asks for all others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..registry import PROTOCOLS, unparse
from ..structures import Item, Task
from ..structures.task import needed_depth
from ._sides import figures, select, truth_by_label

DEFINITION = "each test image asks for the others of its class; the query itself is junk"


@PROTOCOLS.register()
class LeaveOneOut:
    """Each test image queries all others; right are those of its class (SOP, CUB-200, CARS196).

    The classes of the test images are none of training. Figures: recall@k, and mAP@R, for which R
    is the number of right images of the query. A class of one image has no answer, and its query is
    left out of every mean.

    Args:
        split: which images ask and are asked for.
        recall: the ks of recall@k.

    Source: Oh Song et al., Deep Metric Learning via Lifted Structured Feature Embedding, CVPR 2016
        (arXiv 1511.06452); Musgrave, Belongie and Lim, A Metric Learning Reality Check, ECCV 2020
        (arXiv 2003.08505)
    Example: leave_one_out(split='test', recall=(1, 10, 100, 1000))
    """

    def __init__(self, split: str = "test", recall: tuple[int, ...] = (1, 2, 4, 8)) -> None:
        self.split, self.recall = split, tuple(recall)

    def tasks(self, items: Sequence[Item]) -> list[Task]:
        """The one task.

        Raises:
            DataError: no image is of the split.
        """
        asked = select(items, self.split)
        name = unparse("leave_one_out", [], {"split": self.split})
        truth = truth_by_label(asked, asked, (name, DEFINITION, ""))
        most = int(np.diff(truth.relevant_starts).max())
        depth = needed_depth(truth, max(*self.recall, most))
        metrics = (figures("recall", self.recall), "map_at_r()")
        return [Task("", asked, asked, truth, metrics, depth)]
