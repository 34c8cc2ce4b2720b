"""Images of a contest that cannot be read: named, counted, and counted as not found."""

from __future__ import annotations

import dataclasses
import logging
import pathlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from ...data.rejects import COLUMNS
from ...io import csv_rows
from ...knn.align import rows_of
from ...structures import Embeddings, Item, Ranking
from .members import Items, Member

logger = logging.getLogger("fastreid.fastseek")
FILE = "rejects.csv"
SHOWN = ("side", "id", "path", "code", "detail")
NAMES = {"QUERIES": "queries", "GALLERY": "gallery images", "REFERENCE": "reference images"}


def write_rejects(members: Sequence[Member], items: Items, file: pathlib.Path) -> dict[str, int]:
    """Name every image that has no vector of some member.

    Args:
        members: embedded.
        items: side -> images.
        file: gets them; an older one is removed where there are none.

    Returns:
        side -> how many images it lacks; a side that lacks none is left out.
    """
    rows: dict[tuple[str, str], tuple[str, ...]] = {}
    for member in members:
        for side, images in items.items():
            for item, why in _lost_images(images, member.sides[side], member.folders[side]):
                rows.setdefault((side, item.id), (side, item.id, item.path, *why))
    if not rows:
        file.unlink(missing_ok=True)
        return {}
    csv_rows.write(file, SHOWN, rows.values())
    sides = [side for side, _ in rows]
    counts = {side: sides.count(side) for side in items if side in sides}
    logger.warning("%s", describe_unreadable(counts, items, file))
    return counts


def _lost_images(
    images: Sequence[Item], found: Embeddings, folder: pathlib.Path
) -> Iterator[tuple[Item, tuple[str, str]]]:
    """Images without a vector, and code and detail of the reason."""
    if len(found) == len(images):
        return
    known = set(found.ids.tolist())
    path = folder / FILE
    told = csv_rows.read(path, COLUMNS, raw_names=True) if path.exists() else ()
    codes = {csv_rows.unguard_cell(row[0]): (row[3], row[4]) for _, row in told}
    for item in images:
        if item.id not in known:
            yield item, codes.get(item.path, ("", ""))


def describe_unreadable(counts: Mapping[str, int], items: Items, file: pathlib.Path) -> str:
    """A sentence about images that cannot be read; "" where there are none."""
    if not counts:
        return ""
    told = [
        f"{count} of {len(items[side])} {NAMES.get(side, side.lower())}"
        for side, count in counts.items()
    ]
    return f"{', '.join(told)} cannot be read and count as not found: see {file}"


def complete_ranking(ranking: Ranking, queries: Sequence[str], gallery: Sequence[str]) -> Ranking:
    """A ranking over all images of a contest, also those that could not be read.

    A query without a vector has no answers, and an image without one answers nothing, so that every
    figure is over the same images, and a list that holds all that could be read counts as whole.

    Args:
        ranking: over those that could be read.
        queries, gallery: ids of all.
    """
    if len(queries) == len(ranking.query_ids) and len(gallery) == len(ranking.gallery_ids):
        return ranking
    depth = ranking.indices.shape[1]
    wide = len(gallery) if depth >= len(ranking.gallery_ids) else depth
    place = rows_of(ranking.gallery_ids, gallery)
    listed = ranking.indices
    rows = rows_of(ranking.query_ids, queries)
    indices = np.full((len(queries), wide), -1, np.int64)
    scores = np.full((len(queries), wide), -np.inf, np.float32)
    indices[rows, :depth] = np.where(listed < 0, -1, place[listed])[:, :wide]
    scores[rows, :depth] = ranking.scores[:, :wide]
    return dataclasses.replace(
        ranking,
        query_ids=np.asarray(queries, str),
        gallery_ids=np.asarray(gallery, str),
        indices=indices,
        scores=scores,
    )
