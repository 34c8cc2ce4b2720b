"""Where the relevant images of every query stand: what all rank metrics rest on.

Junk is taken out before places are counted. Places come from a ranking as it stands, or, without
ranking anything, from scores by counting what is above each relevant image; there equal scores
stand in the order of the gallery ids.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence

import numpy as np

from ..errors import ArtefactError, DataError
from ..knn.nearest import blocks, id_order, pair_scores, similarities
from ..structures import Embeddings, GroundTruth, Ranking
from ..structures.archive import Provenance
from ..structures.arrays import IntArray
from ._align import align

CELLS = 1 << 24  # scores or marks held at once
# when less than this part of a row may stand before the last relevant image, only that part is
# sorted
FEW = 4
RELEVANT, JUNK = 1, 2


@dataclasses.dataclass(frozen=True, eq=False)
class Hits:
    """The places of the relevant images.

    Args:
        starts, places: 1-based places of query q's found relevant images are
            places[starts[q]:starts[q + 1]], rising.
        relevant: [Q] how many relevant images the gallery holds.
        depth: how many gallery images each query's list may hold, junk included.
        gallery: how many images the gallery holds.
        protocol: how relevance and places were decided.
        junk: [Q] how many images of a list are junk and keep others out that are none; 0 where
            nothing is kept out.
    """

    starts: np.ndarray
    places: np.ndarray
    relevant: np.ndarray
    depth: int
    gallery: int
    protocol: Provenance
    junk: np.ndarray | int = 0

    @property
    def counted(self) -> np.ndarray:
        """[Q] whether a query has a relevant image; the others are left out of every mean."""
        return self.relevant > 0

    @property
    def found(self) -> np.ndarray:
        """[Q] how many relevant images were listed."""
        return np.diff(self.starts)

    @property
    def reach(self) -> int:
        """How many places that are no junk every counted list has; a list that could hold no more
        counts as full.
        """
        return self.depth - int(np.where(self.counted, self.junk, 0).max(initial=0))

    def need_depth(self, k: int, name: str) -> None:
        """Check that lists are deep enough for a figure over the first k places, junk taken out.

        Raises:
            ArtefactError: they are not; says how deep to search.
        """
        k, junk = min(k, self.gallery), self.depth - self.reach
        if self.reach >= k:
            return
        taken = f", of which up to {junk} are junk, which takes no place" if junk else ""
        raise ArtefactError(
            f"{name} needs lists of {k} images, this ranking has {self.depth}{taken}: "
            f"search with k={k + junk} or more"
        )


def from_ranking(ranking: Ranking, truth: GroundTruth) -> Hits:
    """Places in a ranking.

    Raises:
        ArtefactError: the ranking is not over the truth's queries and gallery.
    """
    ranking = align(ranking, truth)
    places, found, taken = [], [], np.zeros(len(ranking.indices), np.int64)
    for here, kinds in kinds_of(ranking, truth):
        # Junk takes no place, so places are counted over what is none.
        hit = kinds == RELEVANT
        places.append((kinds != JUNK).cumsum(axis=1)[hit])
        found.append(hit.sum(axis=1))
        taken[here] = ((kinds == JUNK) & (ranking.indices[here] >= 0)).sum(axis=1)
    hits = _hits(
        places, np.concatenate(found) if found else [], truth, ranking.indices.shape[1], "as listed"
    )
    return dataclasses.replace(hits, junk=in_the_way(ranking, truth, taken))


def in_the_way(ranking: Ranking, truth: GroundTruth, junk: np.ndarray) -> np.ndarray:
    """Of the junk listed [Q], how much keeps images out that are none: nothing where a deeper list
    holds no more.
    """
    ended = (ranking.indices[:, -1:] < 0).any(axis=1)
    rest = len(truth.gallery_ids) - np.diff(truth.junk_starts)
    return np.where(ended | (ranking.indices.shape[1] - junk >= rest), 0, junk)


def kinds_of(ranking: Ranking, truth: GroundTruth) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield (queries, [b, K] int8): RELEVANT, JUNK or 0 for every place of an aligned ranking; JUNK
    at an empty one.
    """
    step = max(1, CELLS // max(1, len(truth.gallery_ids), ranking.indices.shape[1]))
    marks = np.zeros((step, len(truth.gallery_ids)), np.int8)
    for start in range(0, len(ranking.indices), step):
        indices = ranking.indices[start : start + step]
        marked = []
        for kind, starts, rows in (
            (RELEVANT, truth.relevant_starts, truth.relevant),
            (JUNK, truth.junk_starts, truth.junk),
        ):
            here = starts[start : start + len(indices) + 1]
            marked.append(
                (np.repeat(np.arange(len(indices)), np.diff(here)), rows[here[0] : here[-1]])
            )
            marks[marked[-1]] = kind
        kinds = np.take_along_axis(marks[: len(indices)], np.maximum(indices, 0), axis=1)
        kinds[indices < 0] = JUNK
        for place in marked:
            marks[place] = 0
        yield slice(start, start + len(indices)), kinds


def from_scores(scores: np.ndarray, truth: GroundTruth) -> Hits:
    """Places by a full matrix [Q, G] in the truth's order, larger is better.

    Raises:
        ArtefactError: the shape is not the truth's. DataError: a score is not finite.
    """
    scores = np.asarray(scores)
    scores = scores if scores.dtype.kind == "f" else scores.astype(np.float64)
    shape = (len(truth.query_ids), len(truth.gallery_ids))
    if scores.shape != shape:
        raise ArtefactError(
            f"scores are {scores.shape}, the truth has {shape[0]} queries and {shape[1]} images"
        )
    order, places = id_order(truth.gallery_ids)[1], []
    with np.errstate(
        over="ignore", invalid="ignore"
    ):  # once: it would cost each row a tenth of its time
        for query, row in enumerate(scores):
            if not _finite(row):
                raise DataError(
                    f"scores of query {str(truth.query_ids[query])!r} are not all finite"
                )
            places.append(_places(row, truth.relevant_to(query), truth.junk_of(query), order))
    return _hits(places, [len(some) for some in places], truth, shape[1], "by gallery id")


def _finite(row: np.ndarray) -> bool:
    """Whether all are finite; the sum of squares tells at a glance unless it overflows."""
    return math.isfinite(row.dot(row)) or bool(np.isfinite(row).all())


def from_embeddings(
    queries: Embeddings, gallery: Embeddings, truth: GroundTruth, metric: str = "cosine"
) -> Hits:
    """Places by comparing embeddings, as the exact search over the whole gallery would give them.

    Args:
        queries, gallery: in the truth's order; the gallery is held in memory.
        truth: what is relevant.
        metric: "cosine", "ip" or "l2".

    Raises:
        ArtefactError: the ids are not the truth's. DataError: a vector is not finite, or zero under
            "cosine".
    """
    for side, ids, what in (
        (queries, truth.query_ids, "queries"),
        (gallery, truth.gallery_ids, "gallery"),
    ):
        if not np.array_equal(side.ids, ids):
            raise ArtefactError(f"the {what} are not those of the truth, in its order")
    order, places = id_order(truth.gallery_ids)[1], []
    vectors = (
        np.concatenate([g for _, g in blocks(gallery, metric, 65536)])
        if len(gallery)
        else np.empty((0, 0))
    )
    for mine, q in blocks(queries, metric, max(1, CELLS // max(1, len(gallery)))):
        scores, slack = similarities(q, vectors, metric)
        for row, query in enumerate(range(mine.start, mine.stop)):
            relevant = truth.relevant_to(query)
            _settle(scores[row], q[row : row + 1], vectors, relevant, 2 * slack[row], metric)
            places.append(_places(scores[row], relevant, truth.junk_of(query), order))
    return _hits(places, [len(some) for some in places], truth, len(gallery), "by gallery id")


def _settle(
    row: np.ndarray,
    q: np.ndarray,
    vectors: np.ndarray,
    relevant: np.ndarray,
    slack: float,
    metric: str,
) -> None:
    """Score anew, in place and in float64, whatever rounding could put on the wrong side of a
    relevant image.
    """
    near = np.zeros(len(row), bool)
    for score in pair_scores(q, vectors, np.zeros(len(relevant), int), relevant, metric):
        near |= np.abs(row - score) <= slack
    cols = np.flatnonzero(near)
    row[cols] = pair_scores(q, vectors, np.zeros(len(cols), int), cols, metric)


def _places(
    row: np.ndarray, relevant: np.ndarray, junk: np.ndarray, order: np.ndarray
) -> np.ndarray:
    """1-based places of the relevant images, rising: one more than how many images that are no junk
    stand above.
    """
    wanted = _rising(row, relevant)
    if not len(wanted):
        return np.empty(0, np.int64)
    near = row >= wanted[0]
    rivals = (
        _rising(row, near.nonzero()[0]) if FEW * np.count_nonzero(near) < len(row) else np.sort(row)
    )
    above = rivals.searchsorted(wanted, "right")
    if np.count_nonzero(rivals[above - 2] == wanted):  # the one below has the same score
        return _places_among_ties(row, relevant, junk, order)
    places: IntArray = len(rivals) + 1 - above
    if len(junk):
        places -= len(junk) - _rising(row, junk).searchsorted(wanted)
    return places[::-1]


def _rising(row: np.ndarray, cols: np.ndarray) -> np.ndarray:
    """Some values of a row, sorted; in the copy they are anyway, since these are few and calls are
    what costs.
    """
    values: np.ndarray = row[cols]
    values.sort()
    return values


def _places_among_ties(
    row: np.ndarray, relevant: np.ndarray, junk: np.ndarray, order: np.ndarray
) -> np.ndarray:
    """The same where another image has the very score of a relevant one: then the one whose id
    comes first is above.
    """
    row = row.copy()
    row[junk] = -np.inf
    return np.sort(
        [
            1
            + np.count_nonzero(row > row[image])
            + np.count_nonzero(order[row == row[image]] < order[image])
            for image in relevant
        ]
    )


def _hits(
    places: Sequence[np.ndarray],
    found: Sequence[int] | np.ndarray,
    truth: GroundTruth,
    depth: int,
    ties: str,
) -> Hits:
    starts = np.concatenate([[0], np.cumsum(found)]).astype(np.int64)
    relevant = np.diff(truth.relevant_starts)
    flat = np.concatenate(places) if len(places) else np.empty(0, np.int64)
    protocol = {
        **truth.protocol,
        "counted": int((relevant > 0).sum()),
        "skipped": int((relevant == 0).sum()),
        "ties": ties,
        "depth": depth,
    }
    return Hits(starts, flat, relevant, depth, len(truth.gallery_ids), protocol)
