"""What stands around every enhancer: the provenance of what comes out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import RunError
from ..registry import Enhancer
from ..structures import Embeddings
from ..structures.provenance import add_call, attach_provenance

Answer = tuple[Embeddings | np.ndarray, Embeddings | np.ndarray]


def run(
    part: Enhancer, compute: Callable[..., Answer], queries: Embeddings, gallery: Embeddings
) -> tuple[Embeddings, Embeddings]:
    """Both sides made better.

    Args:
        part: the enhancer.
        compute: called with the part and both sides, gives what the part itself returns.
        queries, gallery: what is to be made better.

    Raises:
        RunError: the part returned other images than it was given.
    """
    new_queries, new_gallery = compute(part, queries, gallery)
    return _complete(part.call, queries, new_queries), _complete(part.call, gallery, new_gallery)


def _complete(call: str, side: Embeddings, made: Embeddings | np.ndarray) -> Embeddings:
    """What was made of one side, with its provenance."""
    if not isinstance(made, Embeddings):
        return Embeddings(side.ids, made, add_call(side.provenance, "enhance", call))
    if made.ids is not side.ids and not np.array_equal(made.ids, side.ids):
        raise RunError(f"{call} returned other images than it was given, or in another order")
    facts = made.provenance
    if "parents" in facts and facts["parents"] != side.provenance.get("parents"):
        return made  # embeddings of several models: whoever joined them knows of all
    return attach_provenance(
        made, add_call(side.provenance, "enhance", call + _describe_fit(facts.get("fit")))
    )


def _describe_fit(digest: Any) -> str:
    """What was learned belongs to the call: the same call with another fit gives other vectors."""
    return f"  # fit {digest}" if digest else ""
