"""The nearest images of every image of a set: built in parts, kept in a folder, cut into groups."""

from .build import build_knn_graph
from .components import UnionFind, connect_images
from .knn_graph import KnnGraph

__all__ = ["KnnGraph", "UnionFind", "build_knn_graph", "connect_images"]
