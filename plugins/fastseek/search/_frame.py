"""What stands around every search: the check of what goes in, the provenance of what comes out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..errors import RunError
from ..registry import Searcher
from ..structures import Embeddings, Ranking
from ..structures.listed_ids import same_ids
from ..structures.provenance import attach_provenance, check_same_model

Answer = Ranking | tuple[np.ndarray, np.ndarray]


def run(
    part: Searcher, compute: Callable[..., Answer], queries: Embeddings, gallery: Embeddings
) -> Ranking:
    """The gallery's best images for every query.

    Args:
        part: the search.
        compute: called with the part and both sides, gives what the part itself returns.
        queries, gallery: embeddings of one model.

    Raises:
        ArtefactError: they are not of one model.
        RunError: the part returned a ranking of something else.
    """
    check_same_model(queries, gallery)
    made = compute(part, queries, gallery)
    parents = {"queries": dict(queries.provenance), "gallery": dict(gallery.provenance)}
    if not isinstance(made, Ranking):
        indices, scores = made
        return Ranking(
            queries.ids, gallery.known_ids, indices, scores, {"search": part.call, **parents}
        )
    for what, ids, given in (
        ("queries", made.query_ids, queries.ids),
        ("gallery", made.gallery_ids, gallery.known_ids),
    ):
        if not same_ids(ids, given):
            raise RunError(f"{part.call} returned a ranking over other {what} than it was given")
    return attach_provenance(made, {**made.provenance, "search": part.call, **parents})
