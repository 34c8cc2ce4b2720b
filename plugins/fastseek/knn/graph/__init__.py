"""The nearest images of every image of a set: built in parts, kept in a folder, cut into groups."""

from .build import build_knn_graph
from .components import UnionFind, connect_images
from .knn_graph import KnnGraph
from .linkage import link_nearest

__all__ = ["KnnGraph", "UnionFind", "build_knn_graph", "connect_images", "link_nearest"]
