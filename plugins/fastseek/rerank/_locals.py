"""Local features of both sides of a ranking, and the loop over the best images of every query."""

from __future__ import annotations

import abc
from collections.abc import Callable

import numpy as np

from ..errors import ArtefactError
from ..progress import progress
from ..structures import Embeddings, Ranking
from ..structures.local_embeddings import LocalEmbeddings, Tokens
from ..structures.provenance import first_difference

Opened = tuple[LocalEmbeddings, LocalEmbeddings]
PairScores = Callable[[Tokens, Tokens], np.ndarray]
ROWS = 64  # images compared with a query at once


class LocalReranker(abc.ABC):
    """What re-rankers by local features share.

    Args:
        locals: folder of the gallery's local features.
        query_locals: that of the queries'; "" where one folder has both.
        depth: how many of the best images are re-ranked.
        beta: how much of the old score is added to the new one.
    """

    def __init__(self, locals: str, query_locals: str, depth: int, beta: float) -> None:
        if depth < 1 or beta < 0:
            raise ValueError(f"depth must be 1 or more, beta 0 or more, got {depth} and {beta}")
        self.locals, self.query_locals = locals, query_locals
        self.depth, self.beta = depth, beta

    @abc.abstractmethod
    def compare(self, query: Tokens, images: Tokens) -> np.ndarray:
        """The score [n] of a query's tokens (see `Tokens.pick`) with those of n images."""

    def __call__(self, ranking: Ranking, queries: Embeddings, gallery: Embeddings) -> np.ndarray:
        """New scores [Q, K] of the answers."""
        found = LocalEmbeddings.load(self.locals)
        asked = LocalEmbeddings.load(self.query_locals) if self.query_locals else found
        check_locals(asked, queries, self.query_locals or self.locals, "queries")
        check_locals(found, gallery, self.locals, "gallery")
        if asked.shape[1:] != found.shape[1:]:
            raise ArtefactError(
                f"{self.query_locals}: local features of {asked.shape.dim} numbers as"
                f" {asked.shape.bits}, those of the gallery have {found.shape.dim} as"
                f" {found.shape.bits}: embed both in the same way"
            )
        return self.rescore(ranking, asked, found)

    def rescore(
        self, ranking: Ranking, asked: LocalEmbeddings, found: LocalEmbeddings
    ) -> np.ndarray:
        """The same, of local features that are open already.

        Raises:
            ArtefactError: an image has none; names it.
        """
        scores = ranking.scores.astype(np.float64)
        best = ranking.indices[:, : self.depth]
        listed = np.unique(best[best >= 0])
        rows = _find(found, np.asarray(ranking.gallery_ids[listed]), "gallery")
        query_rows = _find(asked, np.asarray(ranking.query_ids), "queries")
        for query in progress(range(len(query_rows)), "re-ranking"):
            here = best[query][best[query] >= 0]
            if not len(here):
                continue
            tokens = asked.read(query_rows[query : query + 1]).pick(0)
            there = rows[np.searchsorted(listed, here)]
            made = [
                self.compare(tokens, found.read(there[at : at + ROWS]))
                for at in range(0, len(there), ROWS)
            ]
            first = np.concatenate(made) + self.beta * scores[query, : len(here)]
            scores[query, : len(here)] = first
            _lower_rest(scores[query, len(here) :], float(first.min()))
        return scores


def check_locals(one: LocalEmbeddings, side: Embeddings, folder: str, what: str) -> None:
    """Check that local features may be of the images of a side.

    Raises:
        ArtefactError: they are of another model, seen otherwise, or of another root.
    """
    key = first_difference(one.provenance, side.provenance)
    roots = [found.provenance.get("root") for found in (one, side)]
    if not key and all(roots) and roots[0] != roots[1]:
        key = "root"
    if key:
        raise ArtefactError(
            f"{folder}: local features of another {key} than the {what}: embed both in one run,"
            " `fastseek embed --locals 16`"
        )


def _find(one: LocalEmbeddings, ids: np.ndarray, what: str) -> np.ndarray:
    rows = one.find(ids)
    if (rows < 0).any():
        raise ArtefactError(
            f"{int((rows < 0).sum())} images of the {what} have no local features, the first is"
            f" {str(ids[int((rows < 0).argmax())])!r}: embed them with `fastseek embed --locals 16`"
        )
    return rows


def _lower_rest(rest: np.ndarray, least: float) -> None:
    """Put images that were not re-ranked below the others, in their old order, in place."""
    finite = rest[np.isfinite(rest)]
    if len(finite):
        below = float(np.nextafter(np.float32(least), np.float32(-np.inf)))
        rest += min(0.0, below - float(finite.max()))
