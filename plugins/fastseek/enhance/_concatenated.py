"""Embeddings of several models as one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..errors import ArtefactError, UsageError
from ..knn.align import rows_of
from ..knn.vectors import check_vectors, unit_vectors
from ..structures import Embeddings
from ..structures.identity import share_root
from ..structures.provenance import KEYS
from ._sides import ROWS, allocate


class Block(NamedTuple):
    """One run of dimensions: the numbers of the members averaged in it, their weights, and its own
    weight.
    """

    members: list[int]
    weights: list[float]
    weight: float


def concatenate(
    members: Sequence[Embeddings],
    types: Sequence[str] | None = None,
    weights: Sequence[float] | None = None,
    names: Sequence[str] | None = None,
) -> Embeddings:
    """Normalize the vectors of every model, average those of a type, normalize, and put the types
    side by side.

    Three DOLG, three hybrid and two EfficientNet models of 512 dimensions become 3 x 512 = 1536
    (Google Landmark Recognition 2021, first place). The block of a type is scaled by the root of
    its weight, so that the cosine of two results is the weighted mean of the blocks' cosines.
    Memory: one block of every member beside the new vectors.

    Args:
        members: embeddings of the same images, matched by id, never by position.
        types: for every member the name of its block; a block of its own each when None.
        weights: one a member, larger than 0, all 1 when None; a block weighs as much as its
            members' mean.
        names: what errors call the members, such as their files.

    Returns:
        ids in the first member's order, float32 vectors of length 1, types in the order they are
        first named.

    Raises:
        UsageError: no member, or not one type and weight for every member.
        ArtefactError: a member has other images than the first, or members of a type differ in
            dimension.
        DataError: a vector is zero or not finite; names its id.
    """
    names = list(names or (f"member {number + 1}" for number in range(len(members))))
    types = list(types or map(str, range(len(members))))
    weights = list(weights or [1.0] * len(members))
    if not members or not len(members) == len(types) == len(weights) == len(names):
        raise UsageError(
            f"{len(members)} members, {len(types)} types, {len(weights)} weights and {len(names)}"
            " names: give at least one member, and one of each for every member"
        )
    if not all(0 < weight < math.inf for weight in weights):
        raise UsageError(f"weights must be larger than 0, got {weights}")
    blocks = _plan_blocks(members, types, weights, names)
    rows = [
        _match_rows(members[0], member, name, names[0])
        for member, name in zip(members, names, strict=True)
    ]
    return Embeddings(
        members[0].ids,
        _fill_blocks(members, blocks, rows),
        _join_provenances(members, types, weights),
    )


def _plan_blocks(
    members: Sequence[Embeddings], types: list[str], weights: list[float], names: list[str]
) -> list[Block]:
    made = []
    for kind in dict.fromkeys(types):
        inside = [number for number, name in enumerate(types) if name == kind]
        for number in inside:
            if members[number].dim != members[inside[0]].dim:
                raise ArtefactError(
                    f"{names[number]} has {members[number].dim} dimensions, {names[inside[0]]} has "
                    f"{members[inside[0]].dim}: they cannot be averaged as one type {kind!r}"
                )
        own = [weights[number] for number in inside]
        made.append(Block(inside, own, sum(own) / len(own)))
    return made


def _match_rows(
    first: Embeddings, member: Embeddings, name: str, first_name: str
) -> np.ndarray | None:
    """For every image of the first member its row in this one; None when they stand in the same
    order.
    """
    if np.array_equal(first.ids, member.ids):
        return None
    for one, other, sign in (
        (first, member, "lacks"),
        (member, first, "has, unlike " + first_name + ","),
    ):
        missing = np.setdiff1d(one.ids, other.ids)
        if len(missing):
            raise ArtefactError(
                f"{name} does not fit {first_name}: it {sign} {len(missing)} images, the first is "
                f"{str(missing[0])!r}; embed the same images with every model"
            )
    return rows_of(first.ids, member.ids)


def _fill_blocks(
    members: Sequence[Embeddings], blocks: list[Block], rows: list[np.ndarray | None]
) -> np.ndarray:
    dims = [members[block.members[0]].dim for block in blocks]
    whole = sum(block.weight for block in blocks)
    vectors = allocate(len(members[0]), sum(dims))
    for start in range(0, len(members[0]), ROWS):
        here, place = slice(start, min(start + ROWS, len(members[0]))), 0
        for block, dim in zip(blocks, dims, strict=True):
            total = np.zeros((here.stop - start, dim), np.float32)
            for number, weight in zip(block.members, block.weights, strict=True):
                total += np.float32(weight) * _read_unit_vectors(
                    members[number], rows[number], here
                )
            vectors[here, place : place + dim] = unit_vectors(total)[0] * np.float32(
                math.sqrt(block.weight / whole)
            )
            place += dim
    return vectors


def _read_unit_vectors(member: Embeddings, rows: np.ndarray | None, here: slice) -> np.ndarray:
    if rows is None:
        return check_vectors(member, here, "cosine")
    return check_vectors(
        Embeddings(member.ids[rows[here]], member.vectors[rows[here]]), slice(None), "cosine"
    )


def _join_provenances(
    members: Sequence[Embeddings], types: list[str], weights: list[float]
) -> dict:
    """What every member tells, side by side, so that two concatenations meet only when all their
    members may.
    """
    provenances = [dict(member.provenance) for member in members]
    if len(members) == 1:
        return provenances[0]
    told = {
        key: [provenance.get(key) for provenance in provenances]
        for key in KEYS
        if key != "enhance" and any(key in provenance for provenance in provenances)
    }
    kinds = [types.index(name) for name in types]
    call = {
        "concatenated": [provenance.get("enhance", []) for provenance in provenances],
        "types": kinds,
        "weights": weights,
    }
    return {**share_root(provenances), **told, "enhance": [call], "parents": provenances}
