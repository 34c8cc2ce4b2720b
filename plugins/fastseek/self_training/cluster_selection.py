"""Which clusters are worth learning from, and why the others are not."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from ..errors import UsageError
from ..knn.centroids import check_same_length
from ..knn.vectors import unit_rows
from .clustering import Clusters

ALONE = 2.0  # the margin of the only cluster: as if the next one lay on the other side


@dataclasses.dataclass(frozen=True)
class Verdict:
    """One cluster and what was decided.

    Args:
        cluster: its number.
        name: its class when it was seeded with one.
        group: where it was found.
        size: its images.
        compactness: mean cosine of its images to its centroid.
        margin: 1 - cosine of its centroid to the nearest other one.
        labelled: its images whose class is known.
        purity: share of these in the most frequent class; 1 without any.
        photos: how many of its images are kept.
        why: "" when it is kept, else the first rule that dropped it.
    """

    cluster: int
    name: str
    group: str
    size: int
    compactness: float
    margin: float
    labelled: int
    purity: float
    photos: int
    why: str


@dataclasses.dataclass(frozen=True, eq=False)
class Selection:
    """Which images are kept.

    Args:
        numbers: int64 [N], the cluster of a kept image; -1 for one that is not.
        verdicts: of all clusters in order.
    """

    numbers: np.ndarray
    verdicts: tuple[Verdict, ...]

    @property
    def kept(self) -> tuple[Verdict, ...]:
        """The clusters that are kept."""
        return tuple(one for one in self.verdicts if not one.why)


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a cluster must pass, in this order.

    Args:
        size: the smallest and the largest size.
        compact: percentile of the compactness that is the least, 0 for no such rule.
        margin: the same for the margin.
        purity: the least share of one class among the labelled images of a cluster,
        labelled: ... which is asked for from so many on.
        cap: images kept of one cluster, the nearest to its centroid.

    Raises:
        UsageError: an illegal limit.
    """

    size: tuple[int, int] = (10, 500)
    compact: float = 20
    margin: float = 20
    purity: float = 0.5
    labelled: int = 3
    cap: int = 200

    def __post_init__(self) -> None:
        in_order = 0 <= self.size[0] <= self.size[1]
        percentiles = 0 <= self.compact <= 100 and 0 <= self.margin <= 100
        if not in_order or not percentiles or not 0 <= self.purity <= 1:
            raise UsageError(
                "sizes must be 0 or more and in order, percentiles in 0..100 and the purity in"
                f" 0..1, got {tuple(self.size)}, {self.compact}, {self.margin} and {self.purity}"
            )
        if self.cap < 1 or self.labelled < 1:
            raise UsageError(
                f"cap and labelled must be 1 or more, got {self.cap} and {self.labelled}"
            )


def select(
    vectors: np.ndarray,
    clusters: Clusters,
    labels: Sequence[str] | None = None,
    limits: Limits | None = None,
) -> Selection:
    """Keep clusters of a middling size that are compact, apart from others and of one class.

    The percentiles are taken over the clusters of legal size. A cluster exactly at one is kept, so
    that clusters that are all alike all stay. Seeded clusters are judged like the others, but never
    dropped as too small.

    Args:
        vectors: [N, D] the clusters were found in.
        clusters: from `cluster` or `recluster`.
        labels: [N] classes, "" where unknown.
        limits: what is kept; the usual ones when not given.

    Raises:
        DataError, ArtefactError: the vectors cannot be used or do not fit.
    """
    limits = limits or Limits()
    check_same_length(vectors=vectors, clusters=clusters.numbers, labels=labels)
    points = unit_rows(vectors)
    cosines = (
        np.einsum("nd,nd->n", points, clusters.centroids[clusters.numbers])
        if len(clusters)
        else np.empty(0)
    )
    members = [np.flatnonzero(clusters.numbers == number) for number in range(len(clusters))]
    compactness = np.array([cosines[rows].mean() if len(rows) else -1.0 for rows in members])
    margins = _margins(clusters.centroids)
    pure = [_purity(rows, labels) for rows in members]
    low = [0 if name else limits.size[0] for name in clusters.names]
    wrong_size = [
        _size(len(rows), least, limits.size[1]) for rows, least in zip(members, low, strict=True)
    ]
    legal = np.array([not why for why in wrong_size], bool)
    floors = [
        np.percentile(values[legal], part) if legal.any() and part else -np.inf
        for values, part in ((compactness, limits.compact), (margins, limits.margin))
    ]
    numbers, verdicts = np.full(len(points), -1, np.int64), []
    for number, rows in enumerate(members):
        share, known = pure[number]
        why = wrong_size[number]
        why = why or _below("compactness", compactness[number], floors[0], limits.compact)
        why = why or _below("margin", margins[number], floors[1], limits.margin)
        if not why and known >= limits.labelled and share < limits.purity:
            why = f"purity {share:.2f} of {known} labelled images is below {limits.purity:g}"
        kept = rows[np.lexsort((rows, -cosines[rows]))][: limits.cap] if not why else rows[:0]
        numbers[kept] = number
        verdicts.append(
            Verdict(
                number,
                clusters.names[number],
                clusters.groups[number],
                len(rows),
                float(compactness[number]),
                float(margins[number]),
                known,
                share,
                len(kept),
                why,
            )
        )
    return Selection(numbers, tuple(verdicts))


def _margins(centroids: np.ndarray) -> np.ndarray:
    if len(centroids) < 2:
        return np.full(len(centroids), ALONE)
    nearest = np.full(len(centroids), -1.0)
    for start in range(0, len(centroids), 1024):
        cosines = centroids[start : start + 1024].astype(np.float64) @ centroids.T.astype(
            np.float64
        )
        cosines[np.arange(len(cosines)), np.arange(start, start + len(cosines))] = -np.inf
        nearest[start : start + 1024] = cosines.max(axis=1)
    return 1 - nearest


def _purity(rows: np.ndarray, labels: Sequence[str] | None) -> tuple[float, int]:
    known = [labels[row] for row in rows if labels[row]] if labels is not None else []
    return (max(map(known.count, set(known))) / len(known), len(known)) if known else (1.0, 0)


def _size(images: int, low: int, high: int) -> str:
    if not images:
        return "no image"
    return "" if low <= images <= high else f"size {images} is not in {low} to {high}"


def _below(what: str, value: float, floor: float, percentile: float) -> str:
    return (
        f"{what} {value:.3f} is below {floor:.3f}, percentile {percentile:g}"
        if value < floor
        else ""
    )
