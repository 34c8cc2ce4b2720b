"""What re-rankers do with a ranking: check whose it is, put new scores in order."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..errors import ArtefactError, shorten
from ..knn.align import rows_of
from ..knn.sort_keys import EMPTY, listed_order, places_of, scores_of, sort_keys
from ..knn.vectors import check_vectors
from ..progress import progress
from ..structures import Embeddings, Ranking
from ..structures.archive import Provenance
from ..structures.listed_ids import Ids, same_ids
from ..structures.provenance import ARRAY, check_same_model, first_difference

logger = logging.getLogger("fastseek")
ROWS = 4096  # queries sorted at once
GAP = 1e-6  # between what was re-ranked and what was not


def fit_sides(
    ranking: Ranking, queries: Embeddings, gallery: Embeddings
) -> tuple[Embeddings, Embeddings]:
    """Both sides in the order of the ranking.

    Embeddings of the same root may hold more images, in another order; what is not in the ranking
    is left out.

    Raises:
        ArtefactError: the ranking is not over these images, or was searched with embeddings of
            another model, or with others seen or treated otherwise.
    """
    check_same_model(queries, gallery)
    return (
        _fit_side(queries, ranking.query_ids, ranking.provenance, "queries"),
        _fit_side(gallery, ranking.gallery_ids, ranking.provenance, "gallery"),
    )


def _fit_side(side: Embeddings, ids: Ids, provenance: Provenance, what: str) -> Embeddings:
    told = provenance.get(what, {})
    searched = told if isinstance(told, Mapping) else {}  # a list of what differs, where merged
    _check_origin(side, searched, what)
    if same_ids(side.known_ids, ids):
        return side
    rows = rows_of(_read_ids(ids, what), np.asarray(side.ids))
    # Row 0 of one file is not row 0 of another: names are compared within one root.
    root = searched.get("root")
    if (rows < 0).any() or not root or root != side.provenance.get("root"):
        raise _not_over(what)
    return Embeddings(side.known_ids[rows], np.asarray(side.vectors[rows]), side.provenance)


def _read_ids(ids: Ids, what: str) -> np.ndarray:
    """All ids of a side, which is not the one that was given.

    Raises:
        ArtefactError: the ranking knows only those it lists, and the file of the others is gone.
    """
    try:
        return np.asarray(ids)
    except ArtefactError as error:  # it asks for a gallery, and one was given
        raise _not_over(what) from error


def _not_over(what: str) -> ArtefactError:
    side = "this gallery" if what == "gallery" else f"these {what}"
    return ArtefactError(
        f"the ranking is not over {side}: give the embeddings it was searched with, or search again"
        " with these"
    )


def _check_origin(side: Embeddings, searched: Provenance, what: str) -> None:
    """Check that a ranking may have been searched with these vectors.

    A search may have enhanced them further, so of the enhancement only the beginning is compared.
    """
    found = dict(side.provenance)
    if "enhance" in found and "enhance" in searched:
        known, begun = _as_list(searched["enhance"]), _as_list(found["enhance"])
        found["enhance"] = searched["enhance"] if known[: len(begun)] == begun else begun
    key = first_difference(searched, found)
    if key:
        raise ArtefactError(
            f"the ranking was searched with {what} of another {key}"
            f" ({shorten(str(searched[key]))}; these are of {shorten(str(found[key]))}): give the"
            " embeddings it was searched with, or search again with these"
        )
    if "model" not in found or "model" not in searched:
        _check_rows(side, searched, what)


def _check_rows(side: Embeddings, searched: Provenance, what: str) -> None:
    """Check bare vectors, whose ids are row numbers and tell no model, by what they came from.

    Raises:
        ArtefactError: they were given as arrays, and these are of another content.
    """
    before, now = (one.get("root") for one in (searched, side.provenance))
    if not before or not now or before == now:
        return
    if str(before).startswith(ARRAY) and str(now).startswith(ARRAY):
        raise ArtefactError(
            f"the ranking was searched with other {what}: the arrays differ; give those it was"
            " searched with, or search again with these"
        )
    logger.warning(
        "the ranking was searched with %s of %s, these are of %s: compared by their ids alone",
        *(what, before, now),
    )


def _as_list(steps: Any) -> list[Any]:
    return list(steps) if isinstance(steps, (list, tuple)) else [steps]


def check_cosine(ranking: Ranking) -> None:
    """Check that the ranking's scores are cosines, as far as its provenance tells how it was
    searched.

    Raises:
        ArtefactError: it was searched by another metric.
    """
    search = str(ranking.provenance.get("search", ""))
    told_as = re.search(r"metric=\W*(\w+)", search)
    if told_as and told_as[1] != "cosine":
        raise ArtefactError(
            f"the ranking was made by {search}, and this re-ranker takes its scores as cosines:"
            " search with metric='cosine'"
        )


def sort_anew(ranking: Ranking, scores: np.ndarray) -> Ranking:
    """The ranking with a new score for every answer, best first, equal scores in the order of the
    gallery ids.

    Args:
        ranking: stays as it is.
        scores: [Q, K], for the answers as the ranking lists them; what stands at an empty place is
            not read.
    """
    order, places = listed_order(ranking.gallery_ids, ranking.indices)
    indices, sorted_ = np.empty_like(ranking.indices), np.empty_like(ranking.scores)
    for start in range(0, len(indices) if indices.size else 0, ROWS):
        here = slice(start, start + ROWS)
        listed = ranking.indices[here]
        # As float32, which is what the ranking keeps: scores that become equal there stand by id.
        keys = sort_keys(scores[here].astype(np.float32), places[here])
        keys = np.sort(np.where(listed < 0, EMPTY, keys), axis=1)
        sorted_[here] = scores_of(keys)
        indices[here] = np.where(
            keys == EMPTY, -1, order[np.minimum(places_of(keys), len(order) - 1)]
        )
    return Ranking(ranking.query_ids, ranking.gallery_ids, indices, sorted_)


def score_best(scores: np.ndarray, best: np.ndarray) -> None:
    """Put new scores [m] before the first of the old ones [K], in place; the others stay in order
    behind them.

    What was not re-ranked has scores of another kind: they are lowered where needed.
    """
    scores[: len(best)] = best
    rest = scores[len(best) :]
    least, most = float(best.min()), float(rest.max(initial=-np.inf))
    if np.isfinite(most) and np.float32(most) >= np.float32(least):
        # A step that float32 tells apart, whatever the size of the scores.
        rest += least - GAP * max(1, abs(least)) - most


def score_lists(
    ranking: Ranking,
    queries: Embeddings,
    gallery: Embeddings,
    m: int,
    score: Callable[[np.ndarray], np.ndarray],
) -> Ranking:
    """The ranking with the m best of every query in the order of what their cosines give.

    Args:
        ranking, queries, gallery: stay as they are.
        m: how many images of a query are scored; the others stay in order behind them.
        score: called with the cosines [1 + n, 1 + n] of a query, which stands first, and its best;
            returns their scores [n].

    Raises:
        DataError: a vector is zero or not finite; names its id.
    """
    scores = ranking.scores.astype(np.float64)
    for query in progress(range(len(queries)), "re-ranking"):
        best = ranking.indices[query, :m]
        best = best[best >= 0]
        if not len(best):
            continue
        asked = pick_vectors(queries, np.array([query]))
        images = np.concatenate([asked, pick_vectors(gallery, best)]).astype(np.float64)
        score_best(scores[query], score(images @ images.T))
    return sort_anew(ranking, scores)


def pick_vectors(side: Embeddings, rows: np.ndarray) -> np.ndarray:
    """Some vectors [n, D] float32 of length 1.

    Raises:
        DataError: one is zero or not finite; names its id.
    """
    return check_vectors(
        Embeddings(side.known_ids[rows], np.asarray(side.vectors[rows])), slice(None), "cosine"
    )
