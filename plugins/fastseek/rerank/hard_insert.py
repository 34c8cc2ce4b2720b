"""Images of the query's voted label first, and with them such as the search had missed."""

from __future__ import annotations

import numpy as np

from ..recognition.knn_vote import Reference, Votes, check_votes
from ..registry import RERANKERS
from ..structures import Embeddings, Ranking
from .hard_rank import partition


@RERANKERS.register()
class HardInsert:
    """`hard_rank`, then insert gallery images of the query's label that the search missed. ADDS AND
    DROPS IMAGES.

    The insert step of the Google Landmark Retrieval 2019 winners (Ozaki and Yokoo, arXiv
    1906.04087): an image that is not listed, has the query's voted label, and whose confidence and
    the query's together are more than `threshold`, goes behind the listed images of that label,
    surest first (equal ones by id). Lists keep their length, so what stood last falls off; short
    lists grow. This re-ranker alone does not keep the images of a query (`inserts` tells). Memory:
    what an exact search of the whole gallery in the reference takes.

    Args:
        reference: embeddings of a labelled set, a folder, .npy or .safetensors file.
        labels: a CSV file with the columns id and label (or landmark_id).
        threshold: for the sum of both confidences.
        votes: how many of the nearest labelled images vote.
        conf: the confidence: "sum", "sum/3", "mean-of-agreeing" or "top1" (see `Reference.vote`).

    Raises:
        ArtefactError: ranking, embeddings and reference do not belong together.
        DataError: a file cannot be read, a reference image has no label, or a vector cannot be
            used.

    Source: Ozaki and Yokoo, Large-scale Landmark Retrieval/Recognition under a Noisy and Diverse
        Dataset, 2019 (arXiv 1906.04087)
    Example: hard_insert('reference', 'labels.csv', threshold=0.6)
    """

    inserts = True

    def __init__(
        self,
        reference: str,
        labels: str,
        threshold: float = 0.6,
        votes: int = 3,
        conf: str = "sum/3",
    ) -> None:
        check_votes(votes, conf)
        self.reference, self.labels, self.threshold, self.votes, self.conf = (
            reference,
            labels,
            threshold,
            votes,
            conf,
        )

    def __call__(self, ranking: Ranking, queries: Embeddings, gallery: Embeddings) -> Ranking:
        """As many images for every query, those of its label first."""
        return self.rerank_by(
            Reference.load(self.reference, self.labels), ranking, queries, gallery
        )

    def rerank_by(
        self, reference: Reference, ranking: Ranking, queries: Embeddings, gallery: Embeddings
    ) -> Ranking:
        """The same for a reference that is open already."""
        asked = reference.vote(queries, self.votes, self.conf, "queries")
        found = reference.vote(gallery, self.votes, self.conf, "gallery")
        # Room for the inserted images: their confidence is added to the best score of the query.
        parts = partition(ranking, asked, found, float(found.confidence.max(initial=0)))
        same_label = _Members(gallery.ids, found)
        indices, scores = parts.indices.copy(), parts.scores.astype(np.float32)
        for query, (label, sure) in enumerate(zip(asked.labels, asked.confidence, strict=True)):
            new = same_label.find_surer(label, self.threshold - sure)
            # What is listed was sorted already; inserted too, it would stand twice.
            new = new[~np.isin(new, indices[query])]
            raised = parts.best[query] + found.confidence[new]
            behind = parts.first[query]
            indices[query] = _insert(indices[query], behind, new)
            scores[query] = _insert(scores[query], behind, raised)
        return Ranking(ranking.query_ids, ranking.gallery_ids, indices, scores)


def _insert(row: np.ndarray, place: int, new: np.ndarray) -> np.ndarray:
    """A row with new values from a place on; it keeps its length, so what stood last falls off."""
    return np.concatenate([row[:place], new, row[place:]])[: len(row)]


class _Members:
    """The images of every label, surest first."""

    def __init__(self, ids: np.ndarray, votes: Votes) -> None:
        self.order = np.lexsort((ids, -votes.confidence, votes.labels))
        self.labels, self.confidence = votes.labels[self.order], votes.confidence[self.order]

    def find_surer(self, label: int, threshold: float) -> np.ndarray:
        """Rows of the images of a label whose confidence is more than `threshold`."""
        first, last = np.searchsorted(self.labels, [label, label + 1])
        count = int((self.confidence[first:last] > threshold).sum())
        return self.order[first : first + count]
