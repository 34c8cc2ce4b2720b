"""How much an image looks like things that are no landmark."""

from __future__ import annotations

import numpy as np

from ..errors import DataError
from ..knn.align import rows_of
from ..knn.nearest import nearest
from ..structures import Embeddings
from ..structures.identity import compare_ids
from ..structures.provenance import check_same_model

SAME = 0.999  # the cosine of an image with itself, whatever its vector was rounded to


def measure_likeness(
    side: Embeddings, reference: Embeddings, k: int, name: str = "images"
) -> np.ndarray:
    """The mean of every image's k largest cosines with a set [N] float64; 0 for k = 0.

    An image of the set is not compared with itself. It is known by root and id, and by a cosine of
    1: of bare vectors the ids are row numbers, and equal ones name different images. A set of
    fewer than k images gives the mean of all there are.

    Raises:
        ArtefactError: they are of different models.
        DataError: the set has no other image, or a vector is zero or not finite; names its id.
    """
    check_same_model(side, reference, name, "reference")
    if not k or not len(side):
        return np.zeros(len(side))
    sides = {"queries": side.provenance, "gallery": reference.provenance}
    names = compare_ids(side.ids, reference.ids, sides)
    own = rows_of(*names) if names is not None else np.full(len(side), -1)
    found = nearest(side, reference, k + bool((own >= 0).any()), lowest=False)
    other = (found.rows != own[:, None]) | (found.scores < SAME)
    other &= np.cumsum(other, axis=1) <= k
    counts = other.sum(axis=1)
    if not counts.all():
        raise DataError(
            f"{str(side.ids[int(counts.argmin())])!r} has nothing to be compared with: the"
            f" reference has {len(reference)} images"
        )
    return (found.scores.astype(np.float64) * other).sum(axis=1) / counts
