"""Queries against a gallery."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from ...errors import DataError
from ...inference.evaluation import UNREAD
from ...registry import EVALUATORS
from ...structures import Embeddings, GroundTruth, Item
from ...structures.splits import refuse_missing_queries
from ._collected import Collected, Judge, NameRejects

from fastreid.utils import comm


@EVALUATORS.register()
class Retrieval(Collected):
    """Search every query in the gallery, as the recipe says: SEEK.METRICS, or without them
    fast-reid's Rank-k, mAP and mINP.

    Right is an image of the query's label; one of its camera, too, counts neither as right nor as
    wrong.

    Args:
        num_query, items, name_rejects: see `Collected`.
        judge: (queries, gallery, truth) -> figures.

    Example: retrieval()
    """

    def __init__(
        self,
        *,
        num_query: int,
        items: Sequence[Item] | None = None,
        judge: Judge,
        name_rejects: NameRejects,
    ) -> None:
        super().__init__(num_query, items, name_rejects)
        self.judge = judge

    def evaluate(self) -> OrderedDict[str, float]:
        """The figures, and where gallery images cannot be read how many; empty but in the main
        process.

        Raises:
            DataError: no query or no gallery, or none that can be read, or a query has no vector.
        """
        items, rows, vectors, rejects = self.gather()
        queries, gallery = items[: self.num_query], items[self.num_query :]
        if not len(queries) or not len(gallery):
            raise DataError(
                f"a test set of {len(queries)} queries and {len(gallery)} gallery images: nothing"
                " can be searched; where every image is to be searched among all others, set"
                " SEEK.EVALUATOR leave_one_out()"
            )
        refuse_missing_queries(queries, rows, rejects)
        if not comm.is_main_process():
            return OrderedDict()
        asked = rows < self.num_query
        if asked.all():
            raise DataError(f"none of {len(gallery)} gallery images can be read")
        kept = [gallery[row - self.num_query] for row in rows[~asked].tolist()]
        truth = GroundTruth.from_items(queries, kept)
        figures = self.judge(
            Embeddings(truth.query_ids, vectors[asked]),
            Embeddings(truth.gallery_ids, vectors[~asked]),
            truth,
        )
        if len(kept) < len(gallery):
            # Over a smaller gallery than other runs': the line that tells the figures says so.
            figures[UNREAD] = float(len(gallery) - len(kept))
        return figures
