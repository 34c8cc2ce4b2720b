"""How a ranking came about, as far as its scores depend on it: told beside every score."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..structures import GroundTruth, Ranking

ASKED = "queries with a relevant image in the gallery"  # what means are over


def describe_origin(ranking: Ranking, truth: GroundTruth) -> dict[str, Any]:
    """What was asked, what was searched and how, and whether the truth has helped.

    Returns:
        "queries", "gallery" and "depth" (counts), "denominator"; as far as the ranking's provenance
        tells it "search", "engine", "exact", "recall" (of an approximate search, against the exact one),
        "rerank", "fuse"; "tuned" where weights were tuned.
    """
    found: dict[str, Any] = {
        "queries": len(truth.query_ids),
        "gallery": len(truth.gallery_ids),
        "depth": int(ranking.indices.shape[1]),
        "denominator": ASKED,
    }
    told = ranking.provenance
    for key in ("search", "engine", "exact", "recall", "rerank", "fuse"):
        if key in told:
            found[key] = told[key]
    if "search" not in told:
        found |= _describe_members(told)
    tuned = _find_tuned(told)
    if tuned:
        found["tuned"] = _describe_tuned(tuned, truth)
    return found


def describe_whole(truth: GroundTruth) -> dict[str, Any]:
    """The protocol of figures over whole galleries, such as fast-reid's own."""
    counted = int((np.diff(truth.relevant_starts) > 0).sum())
    return {
        **truth.protocol,
        "queries": len(truth.query_ids),
        "gallery": len(truth.gallery_ids),
        "depth": len(truth.gallery_ids),
        "denominator": ASKED,
        "counted": counted,
        "skipped": len(truth.query_ids) - counted,
    }


def _describe_members(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """How the members of a fused ranking were searched; one that is not exact is named."""
    searches, exact, recall = [], [], []
    for member in _members_of(provenance):
        searches.append(member.get("search"))
        exact.append(member.get("exact"))
        recall.append(member.get("recall"))
    if not any(searches):
        return {}
    told: dict[str, Any] = {"search": [call for call in searches if call]}
    if False in exact:
        told |= {"exact": False, "recall": [one for one in recall if one]}
    elif all(one is True for one in exact):
        told["exact"] = True
    return told


def _members_of(provenance: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The rankings that were searched, of a fused one, however often it was fused."""
    members = provenance.get("members")
    if not isinstance(members, (list, tuple)):
        return [provenance]
    inner = [_members_of(one) for one in members if isinstance(one, Mapping)]
    return [one for some in inner for one in some]


def _find_tuned(provenance: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What tells of tuned weights, in a ranking and in what it was fused from."""
    own = provenance.get("tuned")
    found = [own] if isinstance(own, Mapping) else []
    members = provenance.get("members")
    for one in members if isinstance(members, (list, tuple)) else []:
        found += _find_tuned(one) if isinstance(one, Mapping) else []
    return found


def _describe_tuned(tuned: list[Mapping[str, Any]], truth: GroundTruth) -> str:
    """Whether the weights have seen the truth they are scored by."""
    metrics = ", ".join(dict.fromkeys(str(one.get("metric")) for one in tuned))
    known = [one.get("truth") for one in tuned]
    if truth.fingerprint() in known:
        return (
            f"weights tuned by {metrics} on half of these very queries: the figures are too high;"
            " judge by the held-out half, or by another truth"
        )
    if None in known:
        return f"weights tuned by {metrics} on a truth that is not told: perhaps this one"
    return f"weights tuned by {metrics} on another truth"
