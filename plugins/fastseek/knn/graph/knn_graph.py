"""The kNN graph as an array of neighbors, in memory or mapped from a folder."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from ...errors import ArtefactError, DataError
from ...io.json_files import read_json
from ...io.paths import PathLike
from ...structures import Embeddings
from ...structures.archive import Provenance
from ...structures.arrays import FloatArray, IntArray
from ...structures.known_digests import check_digest
from ...structures.shard_files import map_array
from ..fingerprint import fingerprint

FORMAT = 1
PAGE, NEIGHBORS, SCORES = "graph.json", "neighbors.npy", "scores.npy"
ROWS = 65536  # images whose edges are looked at at once


@dataclasses.dataclass(frozen=True, eq=False)
class KnnGraph:
    """The k nearest other images of every image.

    Args:
        neighbors: [N, k] int32 or int64, rows of the embeddings, best first, ties by id; -1 where
            there is none. An image is not its own neighbor.
        scores: [N, k] float32, larger is better; -inf where there is no neighbor.
        facts: "metric", "exact", "recall" ({"value", "k", "images", "seed"}), "embeddings" (their
            fingerprint), and how it was built.
    """

    neighbors: np.ndarray
    scores: FloatArray
    facts: Provenance

    def __len__(self) -> int:
        return len(self.neighbors)

    @property
    def k(self) -> int:
        """How many neighbors an image has."""
        return int(self.neighbors.shape[1])

    @property
    def metric(self) -> str:
        """How images were compared."""
        return str(self.facts["metric"])

    @classmethod
    def load(cls, folder: PathLike, verify: bool = False) -> KnnGraph:
        """Open the folder of a graph, memory-mapped.

        Args:
            folder: what `build_knn_graph` wrote.
            verify: whether all bytes are compared with their hashes, unless that was done before.

        Raises:
            DataError: no finished graph is there. ArtefactError: it is damaged.
        """
        folder = pathlib.Path(folder)
        page = _read_page(folder)
        if verify:
            for name, digest in page["files"].items():
                check_digest(folder / name, digest)
        neighbors, scores = map_array(folder / NEIGHBORS), map_array(folder / SCORES)
        shape = page["images"], page["k"]
        if neighbors.shape != shape or scores.shape != shape:
            raise ArtefactError(f"{folder}: arrays {neighbors.shape} of a graph {shape}")
        return cls(neighbors, scores, page["facts"])

    def check_fits(self, embeddings: Embeddings) -> None:
        """Check that the graph is of these embeddings.

        Raises:
            ArtefactError: it is of others, or of these in another order.
        """
        if self.facts.get("embeddings") != fingerprint(embeddings):
            raise ArtefactError(
                "the kNN graph is of other embeddings: build it again, in another folder"
            )

    def iterate_edges(
        self, least: float = -np.inf, rows: int = ROWS
    ) -> Iterator[tuple[IntArray, IntArray, FloatArray]]:
        """Yield (images [n], their neighbors [n], scores [n]) of the edges from a score on, block
        by block.
        """
        for start in range(0, len(self), rows):
            scores = np.asarray(self.scores[start : start + rows])
            neighbors = np.asarray(self.neighbors[start : start + rows])
            row, column = np.nonzero((neighbors >= 0) & (scores >= least))
            yield row + start, neighbors[row, column].astype(np.int64), scores[row, column]


def _read_page(folder: pathlib.Path) -> dict[str, Any]:
    try:
        page: Any = read_json(folder / PAGE)
    except DataError as error:
        if not isinstance(error.__cause__, OSError):
            raise
        raise DataError(f"{folder}: holds no finished kNN graph: build it first") from error
    if not isinstance(page, dict) or page.get("format") != FORMAT:
        raise ArtefactError(f"{folder / PAGE}: not the page of a kNN graph of format {FORMAT}")
    kinds = {"images": int, "k": int, "files": dict, "facts": dict}
    if not all(isinstance(page.get(key), kind) for key, kind in kinds.items()):
        raise ArtefactError(f"{folder / PAGE}: not a whole page of a kNN graph")
    if set(page["files"]) != {NEIGHBORS, SCORES} or "metric" not in page["facts"]:
        raise ArtefactError(f"{folder / PAGE}: not a whole page of a kNN graph")
    return page
