"""Whether two sets of embeddings may be compared."""

from __future__ import annotations

from typing import Any

from ..errors import ArtefactError
from ..structures import Embeddings

KEYS = ("model", "preprocessing", "views", "enhance")


def check_same_model(queries: Embeddings, gallery: Embeddings) -> None:
    """Check that queries and gallery come from one model, seen and treated alike.

    What a passport does not say is not compared, so bare vectors pass.

    Raises:
        ArtefactError: they differ in dimension, model, preprocessing, views or enhancement; says in which and how.
    """
    if queries.dim != gallery.dim:
        asked, found = (_told(side.passport.get("model")) for side in (queries, gallery))
        raise ArtefactError(f"queries have {queries.dim} dimensions ({asked}), the gallery {gallery.dim} ({found}): "
                            "embed both with one model")
    for key in KEYS:
        if key not in queries.passport or key not in gallery.passport:
            continue
        asked, found = queries.passport[key], gallery.passport[key]
        if _plain(asked) != _plain(found):
            raise ArtefactError(f"queries and gallery differ in {key}: {_told(asked)} and {_told(found)}; "
                                "embed both in the same way")


def _plain(value: Any) -> Any:
    """Tuples as lists: a passport that was on disk has only lists."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, (list, tuple)) else value


def _told(value: Any) -> str:
    text = str(value) if value is not None else "model unknown"
    return text if len(text) <= 200 else f"{text[:200]}…"
