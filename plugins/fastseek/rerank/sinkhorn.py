"""Affinities balanced until every row and column sums to 1."""

from __future__ import annotations

import numpy as np
from scipy.special import logsumexp

from ..registry import RERANKERS
from ..structures import Embeddings, Ranking
from ._base import score_lists


@RERANKERS.register()
class Sinkhorn:
    """Balance the affinities of a query and its m best images to a doubly stochastic matrix, and
    score images by a walk along it.

    Sinkhorn and Knopp: positive rows and columns of A are scaled until all sum to 1. Here A_ij =
    exp(cosine / temperature) among the query and its m best images, with nothing on the diagonal;
    by symmetry P_ij = exp(log A_ij + u_i + u_j), and `rounds` times u_i <- (u_i - log sum_j exp(log
    A_ij + u_j)) / 2, in logarithms so that no temperature overflows. An image near to everything is
    scaled down, one near to few up. The score is the query's row of P + alpha P^2 + ... + alpha **
    (steps - 1) P^steps: as a random walk of diffusion, but one that no hub attracts (Zass and
    Shashua give the reasons for doubly stochastic affinities in clustering). Images beyond the m
    best stay behind them in their old order, their scores lowered where needed. A query's answer
    does not depend on other queries. Memory: the vectors of m images and m x m affinities.

    Args:
        m: how many of the best images are re-ranked.
        temperature: of the affinities; smaller tells near images further apart.
        rounds: how often all are balanced.
        steps: how far the walk goes.
        alpha: how much less each further step counts, 0 to 1.

    Raises:
        ArtefactError: the ranking is not over these queries and this gallery.
        DataError: a vector is zero or not finite; names its id.

    Source: Sinkhorn and Knopp, Concerning Nonnegative Matrices and Doubly Stochastic Matrices,
        Pacific J. Math. 1967; Zass and Shashua, Doubly Stochastic Normalization for Spectral
        Clustering, NIPS 2006
    Example: sinkhorn(m=100, temperature=0.05)
    """

    def __init__(
        self,
        m: int = 100,
        temperature: float = 0.05,
        rounds: int = 30,
        steps: int = 3,
        alpha: float = 0.9,
    ) -> None:
        if m < 1 or rounds < 1 or steps < 1:
            raise ValueError(
                f"m, rounds and steps must be 1 or more, got {m}, {rounds} and {steps}"
            )
        if temperature <= 0 or not 0 <= alpha <= 1:
            raise ValueError(
                f"temperature must be more than 0 and alpha in 0..1, got {temperature} and {alpha}"
            )
        self.m, self.temperature, self.rounds = m, temperature, rounds
        self.steps, self.alpha = steps, alpha

    def __call__(self, ranking: Ranking, queries: Embeddings, gallery: Embeddings) -> Ranking:
        """The same images for every query, in a better order."""
        return score_lists(ranking, queries, gallery, self.m, self.score)

    def score(self, cosines: np.ndarray) -> np.ndarray:
        """[n] float64 from the cosines [1 + n, 1 + n] of the query, which stands first, and its
        images.
        """
        balanced = balance(cosines / self.temperature, self.rounds)
        walked = step = balanced[0]
        for _ in range(self.steps - 1):
            step = self.alpha * (step @ balanced)
            walked = walked + step
        return walked[1:]


def balance(affinities: np.ndarray, rounds: int) -> np.ndarray:
    """The doubly stochastic matrix [n, n] of logarithms of affinities [n, n], symmetric, of which
    the diagonal is not looked at; 0 on the diagonal.
    """
    logs = affinities.copy()
    np.fill_diagonal(logs, -np.inf)
    shifts = np.zeros(len(logs))
    for _ in range(rounds):
        # Half a step: with whole ones a symmetric scaling swings between two answers.
        shifts = (shifts - logsumexp(logs + shifts, axis=1)) / 2
    return np.exp(logs + shifts[:, None] + shifts)
