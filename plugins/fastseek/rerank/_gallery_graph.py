"""What k-reciprocal re-ranking needs to know of a gallery, found once and kept in a file."""

from __future__ import annotations

import dataclasses
import hashlib
import pathlib

import numpy as np
from scipy.sparse import csr_array

from ..errors import ArtefactError
from ..io.paths import PathLike
from ..knn.nearest import nearest
from ..knn.vectors import blocks, pair_scores
from ..structures import Embeddings
from ..structures.archive import load_npz, save_npz
from ._k_reciprocal_encoding import encode, put_self_first

FORMAT = 1
ROWS = 65536
# What the arrays are called in the file; the first was spelled so by the first version.
ARRAYS = ("neighbours", "reach", "starts", "columns", "weights")


@dataclasses.dataclass(frozen=True, eq=False)
class GalleryGraph:
    """Neighborhoods of the images of a gallery among themselves.

    Args:
        neighbors: [G, K] int32 nearest images, itself first.
        reach: [G] float32, the score of the k1-th other image: what is nearer is among the k1
            nearest; -inf when the gallery has fewer.
        starts, columns, weights: the encodings before they are averaged, sparse [G, G].
    """

    neighbors: np.ndarray
    reach: np.ndarray
    starts: np.ndarray
    columns: np.ndarray
    weights: np.ndarray

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
        cls, gallery: Embeddings, vectors: np.ndarray, k1: int, k2: int, metric: str
    ) -> GalleryGraph:
        """Search the gallery in itself and encode every image.

        Args:
            gallery: the images.
            vectors: the same in memory, float32, of length 1 for "cosine".
            k1, k2, metric: as for `k_reciprocal`.
        """
        found = nearest(gallery, gallery, max(k1 + 1, k2), metric)
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
        return cls(neighbors.astype(np.int32), reach, raw.indptr, raw.indices, raw.data)

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
        return cls(*(arrays[name] for name in ARRAYS))


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
    summed = hashlib.sha256("\n".join(gallery.ids.tolist()).encode("utf-8", "surrogateescape"))
    for start in range(0, len(vectors), ROWS):
        summed.update(vectors[start : start + ROWS].tobytes())
    return summed.hexdigest()
