"""Answers to an image and to its parts, as one list."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..errors import ArtefactError
from ..structures import Ranking
from ..structures.listed_ids import Ids, same_ids


def merge_answers(whole: Ranking, parts: Ranking, owner: Mapping[str, str]) -> Ranking:
    """The ranking in which an image's score is its largest over the image and the image's parts.

    Args:
        whole: of the images.
        parts: of parts of some of them, over the same gallery, as deep, with scores that can be
            compared.
        owner: part's query id -> image's query id.

    Returns:
        a ranking of the images, as deep as `whole`; equal scores in the order of the gallery ids.

    Raises:
        ArtefactError: another gallery, lists that are shorter, or a part of no image.
    """
    if not same_ids(whole.gallery_ids, parts.gallery_ids):
        raise ArtefactError(
            "queries and their parts were searched in different galleries: search the same one"
        )
    if parts.indices.shape[1] < whole.indices.shape[1]:
        raise ArtefactError(
            f"parts list {parts.indices.shape[1]} images, queries {whole.indices.shape[1]}: search"
            " the parts as deep"
        )
    rows = {name: row for row, name in enumerate(whole.query_ids.tolist())}
    strangers = [name for name in parts.query_ids.tolist() if owner.get(name) not in rows]
    if strangers:
        raise ArtefactError(f"part {strangers[0]!r} belongs to no image of the ranking")
    indices, scores = whole.indices.copy(), whole.scores.copy()
    members: dict[int, list[int]] = {}
    for number, name in enumerate(parts.query_ids.tolist()):
        members.setdefault(rows[owner[name]], []).append(number)
    for row, numbers in members.items():
        found = np.concatenate([whole.indices[row], *parts.indices[numbers]])
        values = np.concatenate([whole.scores[row], *parts.scores[numbers]])
        indices[row], scores[row] = _best(found, values, whole.gallery_ids, indices.shape[1])
    return Ranking(
        whole.query_ids,
        whole.gallery_ids,
        indices,
        scores,
        {
            **whole.provenance,
            "subjects": {"images": len(members), "parts": len(parts.query_ids)},
        },
    )


def _best(
    found: np.ndarray, values: np.ndarray, ids: Ids, depth: int
) -> tuple[np.ndarray, np.ndarray]:
    """The `depth` best, each image once with its largest score; short rows are filled up as in
    `Ranking`.
    """
    # Padding goes first, or it would count as one more image.
    found, values = found[found >= 0], values[found >= 0]
    order = np.lexsort((ids[found], -values))
    order = order[np.sort(np.unique(found[order], return_index=True)[1])][:depth]
    rest = depth - len(order)
    return np.append(found[order], np.full(rest, -1)), np.append(
        values[order], np.full(rest, -np.inf)
    )
