"""Clusters of bounded size, joined along the edges of a kNN graph, the nearest first."""

from __future__ import annotations

import numpy as np

from ...structures.arrays import FloatArray, IntArray
from .knn_graph import KnnGraph


def link_nearest(graph: KnnGraph, most: int) -> IntArray:
    """The cluster [N] of every image, numbered in the order of their first images.

    Two images are joined where each is among the other's neighbors. Again and again, clusters that
    are each other's nearest by such an edge become one, as long as they have at most `most` images
    together. Where nothing is too large, clusters are the connected parts of that graph.

    Args:
        graph: of N images.
        most: images of a cluster.
    """
    one, other, scores = find_mutual_edges(graph)
    order = np.lexsort((other, one, -scores))
    one, other = one[order], other[order]  # the nearest first: an edge's number is its rank
    cluster, size = np.arange(len(graph)), np.ones(len(graph), np.int64)
    if most < 2:
        return cluster
    while len(one):
        rank = np.arange(len(one))
        best = np.full(len(graph), len(one))
        np.minimum.at(best, one, rank)
        np.minimum.at(best, other, rank)
        both = (best[one] == rank) & (best[other] == rank)
        low, high = np.minimum(one[both], other[both]), np.maximum(one[both], other[both])
        parent = np.arange(len(graph))
        parent[high] = low
        size[low] += size[high]
        cluster, one, other = parent[cluster], parent[one], parent[other]
        small = (one != other) & (size[one] + size[other] <= most)
        one, other = one[small], other[small]
    numbers: IntArray = np.unique(cluster, return_inverse=True)[1].reshape(-1)
    return numbers


def find_mutual_edges(graph: KnnGraph) -> tuple[IntArray, IntArray, FloatArray]:
    """Pairs (image [n], later image [n]) that are neighbors of each other, each once, and their
    scores [n].
    """
    blocks = list(graph.iterate_edges())
    if not blocks:
        return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32)
    first, second, scores = (np.concatenate(part) for part in zip(*blocks, strict=True))
    key = np.minimum(first, second) * len(graph) + np.maximum(first, second)
    order = np.argsort(key, kind="stable")
    twice = order[1:][key[order][1:] == key[order][:-1]]
    low, high = np.divmod(key[twice], len(graph))
    return low, high, scores[twice]
