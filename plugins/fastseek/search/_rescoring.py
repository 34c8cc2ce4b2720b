"""Exact scores for what another engine proposed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..knn.align import rows_of
from ..knn.sort_keys import EMPTY, id_order, places_of, scores_of, sort_keys
from ..knn.vectors import blocks, matched_scores, unit_vectors
from ..structures import Embeddings

CELLS = 1 << 22  # numbers gathered at once: 16 MB


def rescore_pairs(
    queries: Embeddings, gallery: Embeddings, proposed: np.ndarray, k: int, metric: str
) -> tuple[np.ndarray, np.ndarray]:
    """The k best of the proposed gallery rows, scored and ordered as the exact search does.

    Args:
        queries, gallery: the vectors; the gallery is read only where proposed.
        proposed: [Q, M] gallery rows, -1 for none; a row that stands twice counts once.
        k: how many to keep.
        metric: "cosine", "ip" or "l2".

    Returns:
        indices [Q, K] int64 and scores [Q, K] float32, K = min(k, M), filled up with -1 and -inf.

    Raises:
        DataError: a query is not finite, or zero under "cosine"; names its id.
    """
    # Only the ids of proposed rows are read and put in order: there may be very many others.
    rows = np.unique(proposed[proposed >= 0])
    order, place = id_order(gallery.known_ids[rows])

    def find_places(found: np.ndarray) -> np.ndarray:
        return place[np.searchsorted(rows, found)]

    best = _best_keys(queries, gallery, proposed, metric, find_places)[:, :k]
    ranked = np.append(rows[order], -1)  # the last one stands for none
    return ranked[np.minimum(places_of(best), len(rows))], scores_of(best)


def rescore_in_order(
    queries: Embeddings, gallery: Embeddings, proposed: np.ndarray, k: int, metric: str
) -> tuple[np.ndarray, np.ndarray]:
    """What `rescore_pairs` gives, for a gallery whose rows stand in the order of their ids, which
    are not read.
    """
    best = _best_keys(queries, gallery, proposed, metric, lambda found: found)[:, :k]
    return np.where(best == EMPTY, -1, places_of(best)), scores_of(best)


def _best_keys(
    queries: Embeddings,
    gallery: Embeddings,
    proposed: np.ndarray,
    metric: str,
    find_places: Callable[[np.ndarray], np.ndarray],
) -> np.ndarray:
    """The sort keys [Q, M] of the proposed rows, rising; `find_places` gives the places of rows in
    the order of their ids.
    """
    keys = np.full(proposed.shape, EMPTY, np.uint64)
    step = max(1, CELLS // max(1, proposed.shape[1] * queries.dim))
    for mine, q in blocks(queries, metric, step):
        rows, cols = np.nonzero(proposed[mine] >= 0)
        found = proposed[mine][rows, cols]
        theirs = np.asarray(gallery.vectors[found], np.float32)
        theirs = unit_vectors(theirs)[0] if metric == "cosine" else theirs
        block = keys[mine]
        block[rows, cols] = sort_keys(
            matched_scores(q[rows], theirs, metric), find_places(found).astype(np.uint32)
        )
        block.sort(axis=1)
        block[:, 1:][block[:, 1:] == block[:, :-1]] = EMPTY
        block.sort(axis=1)
    return keys


def look_up_rows(names: Sequence[Sequence[str]], ids: np.ndarray, k: int) -> np.ndarray:
    """The rows [Q, K] of lists of names in `ids`; -1 fills up, and stands for a name that is not
    there.
    """
    width = min(k, len(ids))
    rows = np.full((len(names), width), -1, np.int64)
    cut = [list(found[:width]) for found in names]
    lengths = np.array([len(found) for found in cut], np.int64)
    listed = np.arange(width) < lengths[:, None]
    rows[listed] = rows_of([name for found in cut for name in found], ids)
    return rows
