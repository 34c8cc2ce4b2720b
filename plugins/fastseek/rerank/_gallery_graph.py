"""What k-reciprocal re-ranking needs to know of a gallery, found once and kept in a file."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import pathlib
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from ..errors import ArtefactError
from ..io.atomic import atomic
from ..io.digests import sha256
from ..io.json_files import read_json, write_json
from ..io.locks import take_turn
from ..io.paths import PathLike, refuse_occupied
from ..knn.fingerprint import fingerprint, spell_ids
from ..knn.graph import build_knn_graph
from ..knn.graph.build import EXACT_ROWS
from ..knn.nearest import Neighbors, nearest
from ..knn.vectors import blocks, matched_scores, pair_scores, unit_vectors
from ..structures import Embeddings
from ..structures.archive import load_npz, save_npz
from ..structures.arrays import Lazy, Rows, VectorArray
from ..structures.known_digests import check_digest
from ..structures.shard_files import map_array
from ._k_reciprocal_encoding import encode, find_reciprocal, halve, put_self_first

FORMAT = 1
ROWS = 65536
FAR = 4096  # images among which the farthest is looked for in a gallery that is searched by cells
PAGE = "gallery.json"
# What the arrays are called in the file; the first was spelled so by the first version.
ARRAYS = ("neighbours", "reach", "starts", "columns", "weights")
HALF = ("half_starts", "half_columns", "half_ones")
FILES = tuple(f"{name}.npy" for name in (*ARRAYS, *HALF))  # of a folder


@dataclasses.dataclass(frozen=True, eq=False)
class GalleryGraph:
    """Neighborhoods of the images of a gallery among themselves.

    Args:
        neighbors: [G, K] int32 nearest images, itself first.
        reach: [G] float32, the score of the k1-th other image: what is nearer is among the k1
            nearest; -inf when the gallery has fewer.
        starts, columns, weights: the encodings before they are averaged, sparse [G, G].
        depth: of the lists that make R(i, k1/2).
        half_starts, half_columns, half_ones: R(i, k1/2), sparse [G, G], where it is kept.
    """

    neighbors: np.ndarray
    reach: np.ndarray
    starts: np.ndarray
    columns: np.ndarray
    weights: np.ndarray
    depth: int
    half_starts: np.ndarray | None = None
    half_columns: np.ndarray | None = None
    half_ones: np.ndarray | None = None

    @functools.cached_property
    def half(self) -> csr_array:
        """R(i, k1/2) [G, G] of zeros and ones of all images."""
        if self.half_columns is None:
            return find_reciprocal(self.neighbors[:, : self.depth])
        assert self.half_starts is not None and self.half_ones is not None
        return csr_array(
            (self.half_ones, self.half_columns, self.half_starts), shape=(len(self.reach),) * 2
        )

    @property
    def kept(self) -> bool:
        """Whether the arrays lie in a folder and are read where they are needed."""
        return self.half_columns is not None

    @property
    def neighbours(self) -> np.ndarray:
        """The neighbors, by the name they have in the file."""
        return self.neighbors

    @property
    def encoded(self) -> csr_array:
        """The encodings [G, G] before they are averaged, rows that sum to 1."""
        return csr_array(
            (self.weights, self.columns, self.starts), shape=(len(self.reach), len(self.reach))
        )

    @classmethod
    def build(
        cls,
        gallery: Embeddings,
        vectors: VectorArray,
        k1: int,
        k2: int,
        metric: str,
        exact: bool = True,
    ) -> GalleryGraph:
        """Search the gallery in itself and encode every image.

        Args:
            gallery: the images.
            vectors: the same, float32, of length 1 for "cosine".
            k1, k2, metric: as for `k_reciprocal`.
            exact: whether all pairs are compared; else a gallery of more than 50,000 images is
                searched cell by cell, see `build_knn_graph`, and the farthest image is that of
                4,096.
        """
        find = nearest if exact else _search
        found = find(gallery, gallery, max(k1 + 1, k2), metric)
        reach = (
            found.scores[:, k1]
            if found.scores.shape[1] > k1
            else np.full(len(gallery), -np.inf, np.float32)
        )
        longest = squared_distances(found.lowest, metric)
        longest[longest == 0] = 1  # all images are one

        def scale_distances(rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
            return (
                squared_distances(
                    pair_scores(vectors, vectors, rows, cols, metric, np.float32), metric
                )
                / longest[rows]
            )

        neighbors = put_self_first(found.rows)
        raw = encode(neighbors, k1, 1, scale_distances)
        parts = raw.indptr, raw.indices, raw.data
        return cls(neighbors.astype(np.int32), reach, *parts, halve(k1) + 1)

    @classmethod
    def load_or_build(
        cls, path: PathLike, gallery: Embeddings, vectors: np.ndarray, k1: int, k2: int, metric: str
    ) -> GalleryGraph:
        """Read the graph of a gallery from a file, or build it and write the file when there is
        none.

        Raises:
            ArtefactError: the file is damaged, or of another gallery or other settings.
            DataError: it is something else.
        """
        told = {
            "format": FORMAT,
            "k1": k1,
            "k2": k2,
            "metric": metric,
            "gallery": _digest(gallery, vectors),
        }
        if not pathlib.Path(path).exists():
            made = cls.build(gallery, vectors, k1, k2, metric)
            save_npz(path, made, ARRAYS, told)
            return made
        arrays, provenance = load_npz(path, ARRAYS)
        wrong = [key for key in told if provenance.get(key) != told[key]]
        if wrong:
            raise ArtefactError(
                f"{path}: the graph of another {' and '.join(wrong)}: name another file, or delete "
                "this one to have it built again"
            )
        neighbors, reach, starts, columns, weights = (arrays[name] for name in ARRAYS)
        return cls(neighbors, reach, starts, columns, weights, halve(k1) + 1)

    @classmethod
    def open_or_build(
        cls,
        folder: PathLike,
        gallery: Embeddings,
        vectors: VectorArray,
        k1: int,
        k2: int,
        metric: str,
    ) -> GalleryGraph:
        """Map the graph of a gallery from a folder, or build it and write the folder when there is
        none.

        Raises:
            ArtefactError: as `load_or_build`; or files that are no graph lie in the folder.
        """
        folder = pathlib.Path(folder)
        told = {
            "format": FORMAT,
            "k1": k1,
            "k2": k2,
            "metric": metric,
            "gallery": fingerprint(gallery),
        }
        with take_turn(folder):
            files = _claim(folder, told)
            for name, digest in files.items():
                check_digest(folder / name, digest)
            if not files:
                cls.build(gallery, vectors, k1, k2, metric, exact=False)._save(folder)
                write_json(folder / PAGE, {**told, "files": _hash_files(folder)})
        arrays = (map_array(folder / name) for name in FILES)
        neighbors, reach, starts, columns, weights, *half = arrays
        return cls(neighbors, reach, starts, columns, weights, halve(k1) + 1, *half)

    def _save(self, folder: pathlib.Path) -> None:
        half = self.half
        arrays = [getattr(self, name) for name in ARRAYS]
        arrays += [half.indptr, half.indices, half.data.astype(np.int32)]
        for name, array in zip(FILES, arrays, strict=True):
            with atomic(folder / name) as file:
                np.save(file, array, allow_pickle=False)


def _claim(folder: pathlib.Path, told: dict[str, Any]) -> dict[str, str]:
    """Write down what the folder is for, or check that it is for this.

    Returns:
        the hashes of its files; none while the graph is not finished, or was kept without them.

    Raises:
        ArtefactError: it is for something else, or the page is damaged.
    """
    page = folder / PAGE
    if not page.exists():
        refuse_occupied(folder, "graph of a gallery")
        write_json(page, told)
        return {}
    found = read_json(page)
    there = found if isinstance(found, dict) else {}
    wrong = [key for key in told if there.get(key) != told[key]]
    if wrong:
        raise ArtefactError(
            f"{folder}: the graph of another {' and '.join(wrong)}: name another folder,"
            " or remove this one to have it built again"
        )
    files = there.get("files", {})
    if not isinstance(files, dict) or files and set(files) != set(FILES):
        raise ArtefactError(f"{page}: not a whole page: remove {folder} to have it built again")
    return files


def _hash_files(folder: pathlib.Path) -> dict[str, str]:
    return {name: sha256(folder / name) for name in FILES}


class UnitRows(Lazy):
    """Vectors as they are compared, made where they are asked for: float32 [N, D], of length 1 for
    "cosine".
    """

    def __init__(self, side: Embeddings, metric: str) -> None:
        self.vectors, self.metric = side.vectors, metric
        self.shape, self.dtype = (len(side), side.dim), np.dtype(np.float32)

    def __getitem__(self, rows: Rows) -> np.ndarray:
        """Rows by slice, by index array or by number."""
        block = np.asarray(self.vectors[rows], np.float32)
        if self.metric != "cosine":
            return block
        return unit_vectors(block.reshape(-1, self.shape[1]))[0].reshape(block.shape)


def _search(queries: Embeddings, gallery: Embeddings, k: int, metric: str) -> Neighbors:
    """What `nearest` finds for the images of a gallery, nearly where it is large."""
    if len(gallery) <= EXACT_ROWS:
        return nearest(queries, gallery, k, metric)
    graph = build_knn_graph(gallery, max(1, k - 1), metric=metric)
    assert graph is not None  # it has one part only
    own = np.arange(len(gallery))[:, None]
    vectors = UnitRows(gallery, metric)
    rows = np.concatenate([own, np.where(graph.neighbors < 0, own, graph.neighbors)], axis=1)
    alike = np.empty((len(gallery), 1), np.float32)
    for start in range(0, len(gallery), ROWS):
        block = vectors[start : start + ROWS]
        alike[start : start + ROWS, 0] = matched_scores(block, block, metric)
    some = np.sort(np.random.default_rng(0).permutation(len(gallery))[:FAR])
    sample = Embeddings(gallery.known_ids[some], np.asarray(gallery.vectors[some]))
    lowest = nearest(gallery, sample, 1, metric).lowest
    scores = np.concatenate([alike, graph.scores], axis=1)
    return Neighbors(rows[:, :k], scores[:, :k], lowest, "cells")


def squared_distances(scores: np.ndarray, metric: str) -> np.ndarray:
    """Squared Euclidean distances from scores: of vectors of length 1 for "cosine"."""
    return np.maximum(2 - 2 * scores, 0) if metric == "cosine" else -scores


def read_vectors(side: Embeddings, metric: str) -> np.ndarray:
    """All vectors [N, D] float32, of length 1 for "cosine"."""
    vectors = np.empty((len(side), side.dim), np.float32)
    for here, block in blocks(side, metric, ROWS):
        vectors[here] = block
    return vectors


def _digest(gallery: Embeddings, vectors: np.ndarray) -> str:
    summed = hashlib.sha256(spell_ids(gallery.ids))
    for start in range(0, len(vectors), ROWS):
        summed.update(vectors[start : start + ROWS].tobytes())
    return summed.hexdigest()
