"""Optimal transport between local features."""

from __future__ import annotations

import numpy as np

from ..registry import RERANKERS
from ..structures.local_embeddings import Tokens
from ._locals import LocalReranker
from .chamfer import pair_cosines


@RERANKERS.register()
class Transport(LocalReranker):
    """Score an image by the best way to carry the query's local features onto the image's.

    With cosines S [Kq, K] and masses a of the query's tokens and b of the image's, each 1 / their
    number, Sinkhorn's iteration finds the plan P that maximizes <P, S> + epsilon * H(P) with row
    sums a and column sums b: u = a / (M v), v = b / (M' u) in turns, M = exp(S / epsilon), P =
    diag(u) M diag(v), computed with logarithms. The score is <P, S>. Every token has to go
    somewhere: with much clutter `chamfer(ways='image')` is the better choice. Images beyond the
    `depth` best stay behind in their old order. Memory: the tokens of 64 images.

    Args:
        locals: folder of the gallery's local features, as `fastseek embed --locals` writes it.
        query_locals: that of the queries'; "" where the first one has both.
        depth: how many of the best images are re-ranked.
        epsilon: how soft the plan is.
        rounds: of the iteration.
        beta: how much of the old score is added to the new one.

    Raises:
        ArtefactError: the local features are of another model or other images.

    Source: Cuturi, Sinkhorn Distances: Lightspeed Computation of Optimal Transport, NIPS 2013
        (arXiv 1306.0895), algorithm 1
    Example: transport('gallery/locals', 'queries/locals', epsilon=0.05)
    """

    def __init__(
        self,
        locals: str,
        query_locals: str = "",
        depth: int = 100,
        epsilon: float = 0.05,
        rounds: int = 20,
        beta: float = 0.0,
    ) -> None:
        super().__init__(locals, query_locals, depth, beta)
        if epsilon <= 0 or rounds < 1:
            raise ValueError(
                f"epsilon must be above 0, rounds 1 or more, got {epsilon} and {rounds}"
            )
        self.epsilon, self.rounds = epsilon, rounds

    def compare(self, query: Tokens, images: Tokens) -> np.ndarray:
        """[n] float64."""
        near = pair_cosines(query, images)
        there = images.weights > 0
        if not near.shape[1]:
            return np.zeros(len(near))
        with np.errstate(divide="ignore"):  # the mass of an empty token is 0
            images_mass = np.log(there / np.maximum(there.sum(axis=1, keepdims=True), 1))
        query_mass = -np.log(near.shape[1])
        kernel = np.where(there[:, None, :], near, 0) / self.epsilon
        right = np.where(there, 0.0, -np.inf)
        for _ in range(self.rounds):
            left = query_mass - _log_sum(kernel + right[:, None, :], 2)
            right = images_mass - _log_sum(kernel + left[:, :, None], 1)
        plan = np.exp(kernel + left[:, :, None] + right[:, None, :])
        score: np.ndarray = np.where(there[:, None, :], plan * near, 0).sum(axis=(1, 2))
        return score


def _log_sum(values: np.ndarray, axis: int) -> np.ndarray:
    """log of the sum of exp along an axis; where nothing is finite, 0."""
    top = values.max(axis=axis, keepdims=True)
    top = np.where(np.isfinite(top), top, 0)
    total = np.exp(values - top).sum(axis=axis)
    made: np.ndarray = np.where(total > 0, np.log(np.maximum(total, 1e-300)), 0)
    return made + np.squeeze(top, axis)
