"""What an image shows: one label and a score for every query, a low one where it shows no
landmark.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..enhance.l2 import L2
from ..enhance.quantile import Quantile
from ..errors import ArtefactError, UsageError
from ..knn.nearest import nearest
from ..knn.sort_keys import EMPTY, id_order, places_of, scores_of, sort_keys
from ..knn.vectors import check_vectors
from ..structures import Embeddings
from ..structures.arrays import Computed, SideBySide
from ..structures.identity import share_root
from ..structures.provenance import check_same_model
from .distractors import measure_likeness
from .knn_vote import Reference, pick_labels


class RecognitionInput(NamedTuple):
    """What one model made of three sets: the queries, a labelled reference, and images that show no
    landmark.
    """

    queries: Embeddings
    reference: Embeddings
    non_landmarks: Embeddings


@dataclasses.dataclass(frozen=True, eq=False)
class Predictions:
    """One label for every query: `ids` [Q] and `labels` [Q] strings, `scores` [Q] float64, larger
    is surer.
    """

    ids: np.ndarray
    labels: np.ndarray
    scores: np.ndarray


def recognize(
    members: Sequence[RecognitionInput],
    labels: Sequence[str],
    *,
    n_quantiles: int = 1000,
    votes: int = 3,
    gallery_k: int = 5,
    query_k: int = 10,
) -> Predictions:
    """Name what every query shows, as the Google Landmark Recognition winners of 2020 and 2021 did.

    1. Vectors get length 1, and every dimension is bent to a normal distribution, learned from the
       queries only.
    2. B(image) is the mean of a reference image's `gallery_k` largest cosines with the images
       without a landmark.
    3. A(query, image) = clip(cosine, 0, 1) - B(image); every model's `votes` largest vote, exactly.
    4. The label with the largest sum of A is predicted; of equal sums the one named first (model by
       model, best first).
    5. C(query) is the mean of its `query_k` largest cosines with the images without a landmark,
       over the vectors of all models side by side. The score is the sum minus C. An image that is
       itself one of those (same id) is not compared with itself.

    arXiv 2010.01650 (Henkel and Singer) and 2110.03786 (Henkel), where one member is what
    `concatenate` makes. Memory: the vectors of all sets twice, in files of TMPDIR where a set takes
    more than 1 GB.

    Args:
        members: one a model; their queries, references and images without a landmark must have
            the same ids in the same order.
        labels: [R] one for every reference image.
        n_quantiles: how many quantiles are learned; 0 leaves dimensions as they are.
        votes, gallery_k, query_k: see above; `gallery_k=0` and `query_k=0` leave B and C out.

    Returns:
        a prediction for every query.

    Raises:
        UsageError: there is no member, or a number is impossible. ArtefactError: members do not
            fit.
        DataError: a set is too small, or a vector is zero or not finite; names its id.
    """
    if not members or votes < 1 or min(gallery_k, query_k, n_quantiles) < 0 or n_quantiles == 1:
        raise UsageError(
            "needs a member, votes of 1 or more, gallery_k and query_k of 0 or more, n_quantiles"
            f" of 0 or from 2; got {len(members)}, {votes}, {gallery_k}, {query_k} and"
            f" {n_quantiles}"
        )
    _check_alike(members)
    known = Reference.from_labels(members[0].reference, np.asarray(labels, str))
    members = [_bend_member(member, n_quantiles) for member in members]
    candidates = [_find_candidates(member, votes, gallery_k) for member in members]
    rows, scores = (np.concatenate(side, axis=1) for side in zip(*candidates, strict=True))
    winners, sums = pick_labels(known.labels[rows], scores)
    queries = _join_members([member.queries for member in members])
    distractors = _join_members([member.non_landmarks for member in members])
    penalty = measure_likeness(queries, distractors, query_k, "queries")
    return Predictions(queries.ids, known.classes[winners], sums - penalty)


def _check_alike(members: Sequence[RecognitionInput]) -> None:
    for number, member in enumerate(members, 1):
        for what, first, here in zip(
            ("queries", "reference", "non_landmarks"), members[0], member, strict=True
        ):
            if not np.array_equal(first.ids, here.ids):
                raise ArtefactError(
                    f"member {number} has other {what} than member 1, or in another order: embed"
                    " the same images with every model"
                )
        check_same_model(
            member.queries, member.reference, "queries", f"reference of member {number}"
        )
        check_same_model(
            member.queries, member.non_landmarks, "queries", f"non_landmarks of member {number}"
        )


def _bend_member(member: RecognitionInput, n_quantiles: int) -> RecognitionInput:
    """Step 1."""
    queries, reference = L2()(member.queries, member.reference)
    distractors, _ = L2()(member.non_landmarks, member.queries)
    if not n_quantiles:
        return RecognitionInput(queries, reference, distractors)
    part = Quantile(n_quantiles)
    fit = part.find_fit(queries, reference)
    return RecognitionInput(*(part.apply(fit, side) for side in (queries, reference, distractors)))


def _find_candidates(
    member: RecognitionInput, votes: int, gallery_k: int
) -> tuple[np.ndarray, np.ndarray]:
    """Steps 2 and 3: rows of the reference [Q, votes] and their A, best first, equal ones by id.

    A is the larger of cosine - B and -B. The largest of it are among the largest of the one, an
    inner product with one more dimension, and the largest of the other, which are the same images
    for all queries.
    """
    penalty = measure_likeness(member.reference, member.non_landmarks, gallery_k, "reference")
    minus = -penalty.astype(np.float32)
    order, place = id_order(member.reference.ids)
    asked = _append(member.queries, np.ones(len(member.queries), np.float32))
    best = nearest(asked, _append(member.reference, minus), votes, "ip", lowest=False)
    width = best.rows.shape[1]
    plain = np.lexsort((place, -minus))[:votes]
    few = Embeddings(member.reference.ids[plain], np.asarray(member.reference.vectors[plain]))
    others = nearest(member.queries, few, votes, lowest=False)
    rows = np.concatenate([best.rows, plain[others.rows]], axis=1)
    # Rounding must not put a cosine below 0 or above 1.
    near = np.clip(best.scores, minus[best.rows], 1 + minus[best.rows])
    far = np.clip(others.scores, 0, 1) + minus[plain[others.rows]]
    scores = np.concatenate([near, far], axis=1)
    twice = np.zeros(rows.shape, bool)
    twice[:, width:] = (best.rows[:, :, None] == rows[:, None, width:]).any(axis=1)
    keys = np.sort(np.where(twice, EMPTY, sort_keys(scores, place[rows])), axis=1)[:, :width]
    return order[places_of(keys)], scores_of(keys).astype(np.float64)


def _append(side: Embeddings, more: np.ndarray) -> Embeddings:
    """Vectors of length 1 with one more dimension, made when they are read."""

    def make(rows: slice) -> np.ndarray:
        return np.concatenate([check_vectors(side, rows, "cosine"), more[rows, None]], axis=1)

    return Embeddings(side.ids, Computed(make, (len(side), side.dim + 1)))


def _join_members(sides: Sequence[Embeddings]) -> Embeddings:
    if len(sides) == 1:
        return sides[0]
    vectors = SideBySide([side.vectors for side in sides])
    return Embeddings(sides[0].ids, vectors, share_root([side.provenance for side in sides]))
