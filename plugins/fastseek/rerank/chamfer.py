"""Late interaction of local features."""

from __future__ import annotations

import numpy as np

from ..errors import UsageError
from ..registry import RERANKERS
from ..structures.local_embeddings import Tokens
from ._locals import LocalReranker

WAYS = ("both", "query", "image")


@RERANKERS.register()
class Chamfer(LocalReranker):
    """Score an image by how well each local feature finds its like in the other image.

    With tokens q_i of the query and g_j of the image, of length 1: a = mean over i of max over j of
    q_i . g_j ("query": what of the query is in the image), b = mean over j of max over i of
    q_i . g_j ("image": what of the image is in the query); "both" is (a + b) / 2, the Chamfer
    similarity. In a query full of other things "image" disregards what the image does not show.
    a alone, summed, is the MaxSim of late interaction. Images beyond the `depth` best stay behind
    in their old order. Memory: the tokens of 64 images.

    Args:
        locals: folder of the gallery's local features, as `fastseek embed --locals` writes it.
        query_locals: that of the queries'; "" where the first one has both.
        depth: how many of the best images are re-ranked.
        ways: "both", "query" or "image".
        beta: how much of the old score is added to the new one.

    Raises:
        ArtefactError: the local features are of another model or other images.

    Source: Barrow et al., Parametric Correspondence and Chamfer Matching, IJCAI 1977 (the mean of
        nearest distances); Khattab and Zaharia, ColBERT, SIGIR 2020 (arXiv 2004.12832), equation 3
        (MaxSim)
    Example: chamfer('gallery/locals', 'queries/locals', ways='image')
    """

    def __init__(
        self,
        locals: str,
        query_locals: str = "",
        depth: int = 100,
        ways: str = "both",
        beta: float = 0.0,
    ) -> None:
        super().__init__(locals, query_locals, depth, beta)
        if ways not in WAYS:
            raise UsageError(f"ways {ways!r}: expected one of {', '.join(WAYS)}")
        self.ways = ways

    def compare(self, query: Tokens, images: Tokens) -> np.ndarray:
        """[n] float64."""
        near = pair_cosines(query, images)
        there = images.weights > 0
        found = {
            "query": np.where(there[:, None, :], near, -1).max(axis=2, initial=-1).mean(axis=1),
            "image": _mean_there(near.max(axis=1, initial=-1), there),
        }
        if self.ways != "both":
            return found[self.ways]
        return (found["query"] + found["image"]) / 2


def pair_cosines(query: Tokens, images: Tokens) -> np.ndarray:
    """Cosines [n, Kq, K] float64 of a query's tokens with those of n images."""
    count, tokens, dim = images.vectors.shape
    near = query.vectors @ images.vectors.reshape(-1, dim).T
    return near.reshape(len(query.vectors), count, tokens).transpose(1, 0, 2).astype(np.float64)


def _mean_there(values: np.ndarray, there: np.ndarray) -> np.ndarray:
    """The mean of each row, of what is there."""
    total = np.where(there, values, 0).sum(axis=1)
    mean: np.ndarray = total / np.maximum(there.sum(axis=1), 1)
    return mean
