"""Images that are connected: union-find in blocks of edges, with one number an image in memory."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ...structures.arrays import IntArray


class UnionFind:
    """Which of N images are connected by the edges so far.

    Memory: one number an image, and a block of edges.

    Args:
        count: N.
    """

    def __init__(self, count: int) -> None:
        # The root of a group is its first image.
        self._parent = np.arange(count)

    def join(self, first: np.ndarray, second: np.ndarray) -> None:
        """Connect the images [n] with the images [n]."""
        if not len(first):
            return
        roots, edges = np.unique(
            np.concatenate([self.find(first), self.find(second)]), return_inverse=True
        )
        left, right = edges[: len(first)], edges[len(first) :]
        graph = coo_array((np.ones(len(left), bool), (left, right)), (len(roots),) * 2)
        count, group = connected_components(graph, directed=False)
        lowest = np.full(count, len(self._parent))
        np.minimum.at(lowest, group, roots)
        self._parent[roots] = lowest[group]

    def find(self, images: np.ndarray) -> IntArray:
        """The first image [n] of every image's group."""
        roots: IntArray = self._parent[images]
        while True:
            above = self._parent[roots]
            if np.array_equal(above, roots):
                break
            roots = above
        self._parent[images] = roots  # so that the next way is short
        return roots

    def groups(self) -> IntArray:
        """The group [N] of every image, numbered in the order of their first images."""
        roots = self.find(np.arange(len(self._parent)))
        groups: IntArray = np.unique(roots, return_inverse=True)[1].reshape(-1)
        return groups


def connect_images(count: int, edges: Iterable[tuple[np.ndarray, ...]]) -> IntArray:
    """The group [N] of every image, numbered in the order of their first images.

    Args:
        count: N.
        edges: blocks (images [n], other images [n], anything more).
    """
    found = UnionFind(count)
    for first, second, *_ in edges:
        found.join(first, second)
    return found.groups()
