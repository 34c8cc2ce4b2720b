"""Images of the query's voted label first."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..recognition.knn_vote import Reference, Votes, check_votes, vote_listed
from ..registry import RERANKERS
from ..structures import Embeddings, Ranking


class Partition(NamedTuple):
    """Answers with those of the query's label first, each part in its old order, empty places last.

    `indices` [Q, K]; `scores` [Q, K], raised for the first part so that they fall; `first` [Q] how
    many are in it; `best` [Q] the best old score, 0 without answers.
    """

    indices: np.ndarray
    scores: np.ndarray
    first: np.ndarray
    best: np.ndarray


@RERANKERS.register()
class HardRank:
    """Put the images whose voted label is the query's before all others; within each part the order
    stays.

    The sort step of the Google Landmark Retrieval 2019 winners (Ozaki and Yokoo, arXiv 1906.04087).
    The first part's scores are raised by the spread of the query's scores, so that scores fall; the
    others stay. Memory as for `label_rank`.

    Args:
        reference: embeddings of a labelled set, a folder, .npy or .safetensors file.
        labels: a CSV file with the columns id and label (or landmark_id).
        votes: how many of the nearest labelled images vote.

    Raises:
        ArtefactError: ranking, embeddings and reference do not belong together.
        DataError: a file cannot be read, a reference image has no label, or a vector cannot be
            used.

    Source: Ozaki and Yokoo, Large-scale Landmark Retrieval/Recognition under a Noisy and Diverse
        Dataset, 2019 (arXiv 1906.04087)
    Example: hard_rank('reference', 'labels.csv')
    """

    def __init__(self, reference: str, labels: str, votes: int = 3) -> None:
        check_votes(votes, "sum")
        self.reference, self.labels, self.votes = reference, labels, votes

    def __call__(self, ranking: Ranking, queries: Embeddings, gallery: Embeddings) -> Ranking:
        """The same images for every query, those of its label first."""
        return self.rerank_by(
            Reference.load(self.reference, self.labels), ranking, queries, gallery
        )

    def rerank_by(
        self, reference: Reference, ranking: Ranking, queries: Embeddings, gallery: Embeddings
    ) -> Ranking:
        """The same for a reference that is open already."""
        asked = reference.vote(queries, self.votes, "sum", "queries")
        parts = partition(
            ranking, asked, vote_listed(reference, gallery, ranking.indices, self.votes, "sum")
        )
        return Ranking(ranking.query_ids, ranking.gallery_ids, parts.indices, parts.scores)


def partition(ranking: Ranking, asked: Votes, found: Votes, room: float = 0.0) -> Partition:
    """Answers of the query's label first.

    Args:
        ranking: the answers.
        asked, found: votes of queries [Q] and gallery [G].
        room: how much space to leave between the scores of the two parts.
    """
    listed = ranking.indices >= 0
    if not ranking.indices.size:
        none = np.zeros(len(ranking.indices))
        return Partition(ranking.indices, ranking.scores, none.astype(np.int64), none)
    same = listed & (found.labels[ranking.indices] == asked.labels[:, None])
    # Stable: within either part the order stays.
    order = np.argsort(np.where(listed, ~same, 2), axis=1, kind="stable")
    scores = ranking.scores.astype(np.float64)
    best = np.where(listed[:, 0], scores[:, 0], 0)
    spread = np.where(listed[:, 0], best - np.where(listed, scores, np.inf).min(axis=1), 0)
    # The maximum, because rounding must not put a raised score below the others.
    raised = np.maximum(scores + spread[:, None], best[:, None]) + room
    scores = np.take_along_axis(np.where(same, raised, scores), order, axis=1)
    return Partition(
        np.take_along_axis(ranking.indices, order, axis=1), scores, same.sum(axis=1), best
    )
