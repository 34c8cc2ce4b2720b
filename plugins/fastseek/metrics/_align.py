"""Bring a ranking into the order of a truth."""

from __future__ import annotations

import numpy as np

from ..errors import ArtefactError
from ..knn.align import rows_of
from ..structures import GroundTruth, Ranking
from ..structures.listed_ids import same_ids


def align(ranking: Ranking, truth: GroundTruth) -> Ranking:
    """The same ranking with queries and gallery in the truth's order, matched by id.

    Raises:
        ArtefactError: one holds images the other does not know; names the first.
    """
    # The usual case, and nothing is sorted.
    same_gallery = same_ids(ranking.gallery_ids, truth.gallery_ids)
    if same_gallery and np.array_equal(ranking.query_ids, truth.query_ids):
        return ranking
    _same(ranking.query_ids, truth.query_ids, "queries")
    queries = rows_of(truth.query_ids, ranking.query_ids)
    indices = ranking.indices[queries]
    if not same_gallery:
        ranked = np.asarray(ranking.gallery_ids)
        _same(ranked, truth.gallery_ids, "gallery images")
        gallery = rows_of(ranked, truth.gallery_ids)
        indices = np.where(indices < 0, -1, gallery[indices])
    return Ranking(
        truth.query_ids, truth.gallery_ids, indices, ranking.scores[queries], ranking.provenance
    )


def _same(ranked: np.ndarray, known: np.ndarray, what: str) -> None:
    for one, other, lacks in ((known, ranked, "ranking"), (ranked, known, "truth")):
        missing = np.setdiff1d(one, other)
        if len(missing):
            raise ArtefactError(
                f"ranking and truth do not fit: the {lacks} lacks {len(missing)} of {len(one)}"
                f" {what}, the first is {str(missing[0])!r}"
            )
