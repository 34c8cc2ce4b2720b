"""How many lists of an index must be looked into, and how many images scored, to reach a recall."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..knn.nearest import nearest_in_order
from ..knn.vectors import check_vectors
from ..structures import Embeddings
from ..structures.arrays import IntArray
from ._faiss_lists import draw_rows, lists_of

SAMPLE = 200  # stored images whose neighbors are looked for
DEPTHS = (10, 100)  # how many neighbors of each
REFINES = (1, 2, 4, 8, 16, 32)  # candidates for one neighbor
ALL = 2**31 - 1  # lists
NEARLY_ALL = 0.999  # more lists are not tried
RESCORED = 10  # codes that are compared in the time in which one candidate is scored
logger = logging.getLogger("fastseek")


class Setting(NamedTuple):
    """How an index is searched: lists looked into, candidates scored exactly, and the recall
    measured so.

    `k` is the depth of that recall, None like the recall where nothing was measured.
    """

    probes: int
    candidates: int
    k: int | None = None
    recall: float | None = None


def measure_settings(
    index: Any, gallery: Embeddings, metric: str, seed: int
) -> list[dict[str, Any]]:
    """The recall of an index under many settings, from the nearest images of some of its own; the
    image itself is not counted.

    Args:
        index: of inverted lists.
        gallery: its vectors.
        metric: "cosine", "ip" or "l2".
        seed: of the sample.

    Returns:
        {"k", "probes", "candidates", "recall"} each, none for a gallery of one image.
    """
    own = draw_rows(len(gallery), SAMPLE, seed)
    deepest = min(DEPTHS[-1], len(gallery) - 1)
    if deepest < 1:
        return []
    vectors = np.asarray(gallery.vectors[own], np.float32)
    asked = Embeddings(own.astype(str), vectors)
    exact = nearest_in_order(asked, gallery, deepest + 1, metric).rows
    right = [rows[rows != one][:deepest] for rows, one in zip(exact, own, strict=True)]
    queries = np.ascontiguousarray(check_vectors(asked, slice(0, len(own)), metric))
    told: list[dict[str, Any]] = []
    lists = lists_of(index)
    for probes in _steps(lists.nlist):
        lists.nprobe = probes
        found = index.search(queries, min(deepest * REFINES[-1] + 1, index.ntotal))[1]
        places = _find_places(found, own, right)
        best = [_tell(places, depth, probes) for depth in DEPTHS]
        told += [row for rows in best for row in rows]
        if min(rows[-1]["recall"] for rows in best) >= NEARLY_ALL:
            break
    return told


def _steps(lists: int) -> list[int]:
    """1, 2, 3, 4, 6, 8, 12, … and all lists."""
    powers = [1 << power for power in range(lists.bit_length())]
    return sorted(
        {lists, *(step for one in powers for step in (one, one * 3 // 2) if step < lists)}
    )


def _find_places(found: IntArray, own: IntArray, right: Sequence[IntArray]) -> np.ndarray:
    """The place [Q, K] of every right neighbor among the candidates, a large one where it is none."""
    places = np.full((len(own), len(right[0])), np.iinfo(np.int64).max)
    for number, (rows, one, wanted) in enumerate(zip(found, own, right, strict=True)):
        rows = rows[rows != one]
        order = np.argsort(rows, kind="stable")
        spot = np.searchsorted(rows[order], wanted)
        spot[spot == len(rows)] = 0
        there = rows[order[spot]] == wanted if len(rows) else np.zeros(len(wanted), bool)
        places[number, there] = order[spot[there]]
    return places


def _tell(places: np.ndarray, depth: int, probes: int) -> list[dict[str, Any]]:
    places = places[:, :depth]
    return [
        {
            "k": depth,
            "probes": probes,
            "candidates": refine * depth,
            "recall": round(float((places < refine * depth).mean()), 4),
        }
        for refine in REFINES
    ]


def choose_setting(
    told: Sequence[Mapping[str, Any]], k: int, recall: float, rows: float
) -> Setting:
    """The cheapest setting that reaches a recall, or the best there is; all lists for 1.

    Args:
        told: by `measure_settings`.
        k: how many images a query gets.
        recall: that is wanted, of those k.
        rows: images a list, on average.
    """
    if not told:
        return Setting(1, k)
    depth = next((depth for depth in DEPTHS if depth >= k), DEPTHS[-1])
    mine = [row for row in told if row["k"] == depth]
    good = [row for row in mine if row["recall"] >= recall]
    if recall == 1:
        best = mine[-1]
    elif good:
        best = min(good, key=lambda row: row["probes"] * rows + RESCORED * row["candidates"])
    else:
        best = max(mine, key=lambda row: row["recall"])
        logger.warning(
            "a recall of %g was asked for: the most that this index reaches is %g",
            recall,
            best["recall"],
        )
    candidates = _widen(best["candidates"], k, depth)
    probes = ALL if recall == 1 else best["probes"]
    return Setting(probes, candidates, depth, best["recall"])


def deepen_setting(settings: Sequence[Mapping[str, Any]], k: int) -> Setting | None:
    """The setting for k answers of those that were chosen for some depths, rising; None of none."""
    if not settings:
        return None
    best = next((one for one in settings if one["k"] >= k), settings[-1])
    candidates = _widen(best["candidates"], k, best["k"])
    return Setting(best["probes"], candidates, best["k"], best["recall"])


def _widen(candidates: int, k: int, depth: int) -> int:
    """As many candidates for k answers as were enough for `depth`, or in proportion more."""
    return max(k, round(candidates * max(1, k / depth)))
