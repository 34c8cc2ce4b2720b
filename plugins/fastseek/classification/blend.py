"""Several models' class probabilities as one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import ArtefactError, UsageError
from ..structures import Embeddings

MEANS = ("probabilities", "logits")


def align_members(members: Sequence[Embeddings], names: Sequence[str] | None = None) -> np.ndarray:
    """Members' probabilities [M, N, C] float32, images and classes in the order of the first,
    matched by name.

    Args:
        members: of the same images, each with "classes" in its provenance.
        names: what errors call them.

    Raises:
        UsageError: there is no member.
        ArtefactError: a member has other images or classes, or is no table of probabilities; names
            it.
    """
    if not members:
        raise UsageError("no member to blend")
    names = list(names or (f"member {number + 1}" for number in range(len(members))))
    classes, ids = _classes(members[0], names[0]), members[0].ids
    tables = []
    for member, name in zip(members, names, strict=True):
        rows = _places(member.ids, ids, f"{name}: images")
        columns = _places(_classes(member, name), classes, f"{name}: classes")
        tables.append(np.asarray(member.vectors[:], np.float32)[rows][:, columns])
    return np.stack(tables)


def blend_members(
    stack: np.ndarray,
    weights: Sequence[float] | np.ndarray | None = None,
    mean: str = "probabilities",
) -> np.ndarray:
    """The weighted mean of M members.

    Args:
        stack: [M, N, C] probabilities.
        weights: [M], not negative, not all 0; equal when None. Only their proportions count.
        mean: "probabilities", or "logits" for the normalised geometric mean, the softmax of the
            mean logits.

    Returns:
        float32 [N, C], rows that sum to 1 if the members' do.

    Raises:
        UsageError: impossible weights or an unknown mean.
    """
    given = np.ones(len(stack)) if weights is None else np.asarray(weights, float)
    if given.shape != (len(stack),) or (given < 0).any() or not 0 < given.sum() < np.inf:
        raise UsageError(
            f"weights must be {len(stack)} numbers of 0 or more, not all 0, got {given.tolist()}"
        )
    if mean not in MEANS:
        raise UsageError(f"mean must be one of {', '.join(MEANS)}, got {mean!r}")
    share = given / given.sum()
    if mean == "probabilities":
        return np.einsum("m,mnc->nc", share, stack).astype(np.float32)
    # One member's 0 would rule a class out for all: it gets a very small probability.
    logs = np.einsum("m,mnc->nc", share, np.log(np.maximum(stack, 1e-30)))
    powers = np.exp(logs - logs.max(axis=1, keepdims=True))
    return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)


def _classes(member: Embeddings, name: str) -> np.ndarray:
    classes = member.provenance.get("classes")
    if classes is None or len(classes) != member.dim:
        raise ArtefactError(
            f"{name}: not a folder of class probabilities (tools/classify.py writes them)"
        )
    return np.asarray(classes, str)


def _places(have: np.ndarray, want: np.ndarray, what: str) -> np.ndarray:
    order = np.argsort(have)
    at = np.minimum(np.searchsorted(have, want, sorter=order), len(have) - 1)
    rows = order[at]
    if len(have) != len(want) or (have[rows] != want).any():
        lost = next(iter(set(want.tolist()) ^ set(have.tolist())), "one that stands twice")
        raise ArtefactError(
            f"{what} differ from the first member's: {lost!r}, of {len(want)} and {len(have)}"
        )
    return rows
