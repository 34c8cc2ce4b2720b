"""Seeded k-means: classes as fixed seeds, and room for what belongs to none of them."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np

from ..errors import DataError, UsageError
from ..knn.centroids import check_same_length, mean_directions, nearest_centroids
from ..knn.vectors import unit_rows
from .clustering import Clusters


def recluster(
    vectors: np.ndarray,
    labels: Sequence[str],
    groups: Sequence[str] | None = None,
    per: float = 60,
    niter: int = 25,
    seed: int = 0,
) -> Clusters:
    """Cluster again around the known classes (constrained k-means).

    The first centroids are the means of the labelled images of every class, and labelled images
    never leave their class. round(rest / per) further centroids start, far from those there are
    (greedy k-means++), among the images without a label. In a round every such image goes to its
    nearest centroid and every centroid to the mean of its images. With groups, a class takes images
    only of the groups its labelled images are of, every other centroid those of the one group it
    was drawn from. Follows Basu et al., Semi-supervised Clustering by Seeding, ICML 2002.

    Args:
        vectors: [N, D], brought to length 1 here.
        labels: [N] classes, "" for images without.
        groups: [N] group of every image; None takes all together.
        per: images without a label for a further centroid; 0 for none of these.
        niter: rounds at most; it ends when nothing moves.
        seed: of the further centroids.

    Returns:
        clusters whose first are the classes, sorted by name; -1 for an image whose group has no
        centroid.

    Raises:
        DataError: no labelled image, or a vector that is zero or not finite. UsageError: an illegal
            number.
        ArtefactError: rows do not fit.
    """
    if per < 0 or niter < 1:
        raise UsageError(f"per must be 0 or more and niter 1 or more, got {per} and {niter}")
    check_same_length(vectors=vectors, labels=labels, groups=groups)
    points, names = unit_rows(vectors), sorted({label for label in labels if label})
    if not names:
        raise DataError(
            "no image has a label, so there is nothing to seed the clusters with: use cluster()"
        )
    order = {name: number for number, name in enumerate(names)}
    fixed = np.array([order.get(label, -1) for label in labels], np.int64)
    home = np.asarray([""] * len(points) if groups is None else list(groups), str)
    centroids, of = [mean_directions(points, fixed, len(names))], []
    for group in np.unique(home):
        loose = points[(fixed < 0) & (home == group)]
        near = centroids[0][np.unique(fixed[(fixed >= 0) & (home == group)])]
        random = np.random.default_rng([seed, zlib.crc32(str(group).encode())])
        drawn = _draw_centers(loose, near, round(len(loose) / per) if per else 0, random)
        centroids.append(drawn)
        of += [str(group)] * len(drawn)
    table, numbers = np.concatenate(centroids), np.full(len(points), -1, np.int64)
    legal = {group: _legal(group, home, fixed, len(names), of) for group in np.unique(home)}
    for _ in range(niter):
        before, numbers = numbers, _assign_rows(points, table, fixed, home, legal)
        if (numbers == before).all():
            break
        moved = mean_directions(points, numbers, len(table))
        table = np.where(np.linalg.norm(moved, axis=1, keepdims=True) > 0, moved, table)
    return Clusters(
        _assign_rows(points, table, fixed, home, legal),
        table,
        (*(_groups_of(home[fixed == number]) for number in range(len(names))), *of),
        (*names, *[""] * len(of)),
    )


def _groups_of(groups: np.ndarray) -> str:
    return " ".join(np.unique(groups).tolist())


def _legal(
    group: str, home: np.ndarray, fixed: np.ndarray, classes: int, of: Sequence[str]
) -> np.ndarray:
    """The numbers of the centroids that images of a group may go to."""
    own = np.unique(fixed[(fixed >= 0) & (home == group)])
    return np.concatenate([own, classes + np.flatnonzero(np.asarray(of, str) == group)]).astype(
        np.int64
    )


def _draw_centers(
    points: np.ndarray, there: np.ndarray, count: int, random: np.random.Generator
) -> np.ndarray:
    """Up to `count` of the points [n, D]: of some drawn by how far they are, the one that leaves
    all others nearest.
    """
    made: list[np.ndarray] = []
    far = (
        1 - nearest_centroids(points, there)[1].astype(float)
        if len(there) and len(points)
        else np.ones(len(points))
    )
    for _ in range(min(count, len(points))):
        weights = np.clip(far, 0, None)
        if weights.sum() < 1e-9:
            break
        tries = points[
            random.choice(len(points), 2 + int(np.log(count)), p=weights / weights.sum())
        ]
        left = np.minimum(far[:, None], 1 - points @ tries.T)
        best = int(left.sum(axis=0).argmin())
        made.append(tries[best])
        far = left[:, best]
    return np.stack(made) if made else np.empty((0, points.shape[1]), np.float32)


def _assign_rows(
    points: np.ndarray,
    table: np.ndarray,
    fixed: np.ndarray,
    home: np.ndarray,
    legal: dict[str, np.ndarray],
) -> np.ndarray:
    numbers = fixed.copy()
    for group, allowed in legal.items():
        rows = np.flatnonzero((fixed < 0) & (home == group))
        if len(allowed) and len(rows):
            numbers[rows] = allowed[nearest_centroids(points[rows], table[allowed])[0]]
    return numbers
