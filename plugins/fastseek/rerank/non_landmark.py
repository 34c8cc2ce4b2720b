"""Lower what looks like nothing in particular."""

from __future__ import annotations

import numpy as np

from ..recognition.distractors import measure_likeness
from ..registry import RERANKERS
from ..structures import Embeddings, Ranking
from ._base import check_cosine, sort_anew


@RERANKERS.register()
class NonLandmark:
    """Take from every score how much the image, and how much the query, looks like things that are
    no landmark.

    score = clip(cosine, 0, 1) - B(image) - C(query): B is the mean of the image's `gallery_k`
    largest cosines with a set of images that show no landmark, C the mean of the query's
    `query_k` largest. B changes the order, C only what a query's scores are worth beside another's
    (GAP, thresholds). Google Landmark Recognition 2020, first place (Henkel and Singer, arXiv
    2010.01650). The ranking's scores are taken as the cosines. An image of the set is not compared
    with itself (matched by id). Memory: the vectors of the listed gallery images, when they are
    less than half of the gallery, and what an exact search of the set takes.

    Args:
        reference: embeddings of images without a landmark, a folder, .npy or .safetensors file.
        gallery_k: how many cosines B is the mean of; 0 for no B.
        query_k: how many cosines C is the mean of; 0 for no C.

    Raises:
        ArtefactError: ranking, embeddings and reference do not belong together, the reference was
            changed, or the scores are no cosines.
        DataError: the reference cannot be read or is empty, or a vector cannot be used.

    Source: Henkel and Singer, Supporting Large-Scale Image Recognition with Out-of-Domain Samples,
        2020 (arXiv 2010.01650)
    Example: non_landmark('reference', gallery_k=5)
    """

    def __init__(self, reference: str, gallery_k: int = 5, query_k: int = 10) -> None:
        if gallery_k < 0 or query_k < 0:
            raise ValueError(
                f"gallery_k and query_k must be 0 or more, got {gallery_k} and {query_k}"
            )
        self.reference, self.gallery_k, self.query_k = reference, gallery_k, query_k

    def __call__(self, ranking: Ranking, queries: Embeddings, gallery: Embeddings) -> Ranking:
        """The same images for every query, in a better order."""
        return self.rerank_by(
            Embeddings.load(self.reference, verify=True), ranking, queries, gallery
        )

    def rerank_by(
        self, reference: Embeddings, ranking: Ranking, queries: Embeddings, gallery: Embeddings
    ) -> Ranking:
        """The same for a reference that is open already."""
        check_cosine(ranking)
        rows = np.unique(ranking.indices[ranking.indices >= 0])
        of_image = np.zeros(len(gallery))
        # Reading all of it in order is quicker than gathering more than half.
        if 2 * len(rows) >= len(gallery):
            of_image = measure_likeness(gallery, reference, self.gallery_k, "gallery")
        else:
            some = Embeddings(
                gallery.known_ids[rows], np.asarray(gallery.vectors[rows]), gallery.provenance
            )
            of_image[rows] = measure_likeness(some, reference, self.gallery_k, "gallery")
        of_query = measure_likeness(queries, reference, self.query_k, "queries")
        scores = ranking.scores.astype(np.float64)
        if scores.size:
            scores = np.clip(scores, 0, 1) - of_image[ranking.indices] - of_query[:, None]
        return sort_anew(ranking, scores)
