"""What stands around every fuser: the provenance of what comes out."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import RunError, UsageError
from ..registry import Fuser, takes
from ..structures import Ranking
from ..structures.provenance import attach_provenance

Answer = Ranking | tuple[np.ndarray, np.ndarray]


def run(
    part: Fuser,
    compute: Callable[..., Answer],
    members: Sequence[Ranking],
    names: Sequence[str] | None = None,
) -> Ranking:
    """One ranking of several.

    Args:
        part: the fuser.
        compute: called with the part and the members, gives what the part itself returns.
        members: rankings of the same queries, in any order.
        names: what errors call them, such as their files; a fuser need not take them.

    Raises:
        UsageError: there is none.
        RunError: the part returned a ranking of other queries.
    """
    members = tuple(members)
    if not members:
        raise UsageError("nothing to fuse: give at least one ranking")
    given = {"names": names} if takes(inspect.signature(compute), "names") else {}
    made = compute(part, members, **given)
    first = members[0]
    if not isinstance(made, Ranking):
        made = Ranking(first.query_ids, first.gallery_ids, *made)
    elif made.query_ids is not first.query_ids and not np.array_equal(
        made.query_ids, first.query_ids
    ):
        raise RunError(f"{part.call} returned a ranking over other queries than the first one's")
    return attach_provenance(made, _provenance(part.call, members))


def _provenance(call: str, members: Sequence[Ranking]) -> dict[str, Any]:
    """What made the ranking: the fuser, and the provenances of the members."""
    told = [dict(ranking.provenance) for ranking in members]
    return {
        "queries": find_common([one.get("queries") for one in told]),
        "gallery": find_common([one.get("gallery") for one in told]),
        "fuse": call,
        "members": told,
    }


def find_common(provenances: Sequence[Any]) -> dict[str, Any]:
    """What all provenances say alike."""
    if not all(isinstance(provenance, Mapping) for provenance in provenances):
        return {}
    first, *rest = provenances
    return {
        key: value
        for key, value in first.items()
        if all(key in one and one[key] == value for one in rest)
    }
