"""Every image against all others."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from ...errors import DataError
from ...registry import EVALUATORS
from ...structures import Embeddings, GroundTruth, Item
from ...structures.splits import refuse_missing_queries
from ._collected import Collected, Judge, NameRejects

from fastreid.utils import comm


@EVALUATORS.register()
class LeaveOneOut(Collected):
    """Search every test image among all others, as CUB-200, Cars-196 and Stanford Online Products
    are scored (Song et al., Lifted Structured Feature Embedding, 2016).

    Queries and gallery of the set are one; cameras do not count. The image itself is neither right
    nor wrong.

    Args:
        recalls: the depths of recall where the recipe has no SEEK.METRICS.
        num_query, items, name_rejects: see `Collected`.
        judge: (queries, gallery, truth, metrics) -> figures.

    Raises:
        ValueError: no depth.

    Source: Song et al., Deep Metric Learning via Lifted Structured Feature Embedding, CVPR 2016
        (arXiv 1511.06452)
    Example: leave_one_out(recalls=(1, 2, 4, 8))
    """

    def __init__(
        self,
        recalls: Sequence[int] = (1, 2, 4, 8),
        *,
        num_query: int,
        items: Sequence[Item] | None = None,
        judge: Judge,
        name_rejects: NameRejects,
    ) -> None:
        if not recalls:
            raise ValueError("recalls must name at least one depth, such as (1, 2, 4, 8)")
        super().__init__(num_query, items, name_rejects)
        self.judge, self.metric = judge, f"recall({', '.join(map(str, recalls))})"

    def evaluate(self) -> OrderedDict[str, float]:
        """The figures; empty but in the main process.

        Raises:
            DataError: fewer than two images, or one has no vector.
        """
        items, rows, vectors, rejects = self.gather()
        if len(items) < 2:
            raise DataError(f"a test set of {len(items)} images: nothing can be searched")
        refuse_missing_queries(items, rows, rejects)
        if not comm.is_main_process():
            return OrderedDict()
        ids, labels = [item.id for item in items], [item.label for item in items]
        truth = GroundTruth.from_labels(ids, labels, ids, labels)
        side = Embeddings(truth.query_ids, vectors)
        return self.judge(side, side, truth, [self.metric])
