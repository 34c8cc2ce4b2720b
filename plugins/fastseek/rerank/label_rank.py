"""Up-rank and down-rank by voted labels."""

from __future__ import annotations

import numpy as np

from ..recognition.knn_vote import Reference, check_votes, vote_listed
from ..registry import RERANKERS
from ..structures import Embeddings, Ranking
from ._base import check_cosine, sort_anew


@RERANKERS.register()
class LabelRank:
    """Raise images whose voted label is the query's, lower the others, each by how sure the image's
    label is.

    score = cosine + up * confidence(image) where the labels of query and image agree, else cosine -
    down * confidence(image). Both labels are voted by the nearest images of a labelled set. Google
    Landmark Retrieval 2021, first place (arXiv 2110.03786, section on post-processing; the 2021
    text leaves the confidence open). The ranking's scores are taken as the cosines. With `up=0,
    down=0` nothing changes. Memory: the vectors of the listed gallery images, when they are less
    than half of the gallery, and what an exact search of the reference takes.

    Args:
        reference: embeddings of the labelled set, a folder, .npy or .safetensors file.
        labels: a CSV file with the columns id and label (or landmark_id).
        up, down: the factors, 0 or more.
        votes: how many neighbors vote.
        conf: the confidence: "sum", "sum/3", "mean-of-agreeing" or "top1" (see `Reference.vote`).

    Raises:
        ArtefactError: ranking, embeddings and reference do not belong together, or the scores are
            no cosines.
        DataError: a file cannot be read, a reference image has no label, or a vector cannot be
            used.

    Source: Henkel, Efficient Large-Scale Image Retrieval with Deep Feature Orthogonality and
        Hybrid-Swin-Transformers, 2021 (arXiv 2110.03786)
    Example: label_rank('reference', 'labels.csv', up=1.0, down=0.1)
    """

    def __init__(
        self,
        reference: str,
        labels: str,
        up: float = 1.0,
        down: float = 0.1,
        votes: int = 3,
        conf: str = "sum/3",
    ) -> None:
        check_votes(votes, conf)
        if not (up >= 0 and down >= 0):
            raise ValueError(f"up and down must be 0 or more, got {up} and {down}")
        self.reference, self.labels, self.votes, self.conf = reference, labels, votes, conf
        self.up, self.down = up, down

    def __call__(self, ranking: Ranking, queries: Embeddings, gallery: Embeddings) -> Ranking:
        """The same images for every query, in a better order."""
        return self.rerank_by(
            Reference.load(self.reference, self.labels), ranking, queries, gallery
        )

    def rerank_by(
        self, reference: Reference, ranking: Ranking, queries: Embeddings, gallery: Embeddings
    ) -> Ranking:
        """The same for a reference that is open already."""
        check_cosine(ranking)
        asked = reference.vote(queries, self.votes, self.conf, "queries")
        # Of listed images only: the vote of a whole gallery takes an exact search of it.
        found = vote_listed(reference, gallery, ranking.indices, self.votes, self.conf)
        if not ranking.indices.size:
            return sort_anew(ranking, ranking.scores)
        factor = np.where(
            found.labels[ranking.indices] == asked.labels[:, None], self.up, -self.down
        )
        return sort_anew(ranking, ranking.scores + factor * found.confidence[ranking.indices])
