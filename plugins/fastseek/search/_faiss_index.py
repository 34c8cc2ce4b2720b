"""What the faiss searches share: the index of a gallery, trained by a seed, kept on disk, its
recall measured.
"""

from __future__ import annotations

import abc
import pathlib
import weakref
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ..errors import ArtefactError
from ..io.atomic import atomic
from ..knn.vectors import METRICS, blocks
from ..progress import progress
from ..registry import recipe_name
from ..structures import Embeddings, Ranking
from ..structures.embeddings import slice_embeddings
from ._faiss_file import IndexFile, write_index
from ._faiss_library import ROWS, import_faiss, move_to_gpus
from ._recall import measure_recall
from ._rescoring import rescore_pairs
from .sharded import fingerprint

PROPOSED = 1 << 22  # images that are proposed at once: 48 MB
MOST = 2**31 - 1  # faiss counts in 32 bits


class Options(NamedTuple):
    """What every search with a faiss index is given.

    Args:
        k: images a query gets.
        metric: "cosine", "ip" or "l2".
        refine: images that are proposed for one that is kept.
        train: how many vectors, drawn by `seed`, the index learns from; 0 for all.
        sample: queries on which the recall is measured, at most.
        seed: of index and sample.
        file: where the index is kept; "" for nowhere.
    """

    k: int
    metric: str
    refine: int
    train: int
    sample: int
    seed: int
    file: str


class FaissIndex(abc.ABC):
    """A search with a faiss index: it proposes `refine` * k images, their exact scores order them,
    k are kept.

    The index is built at the first search of a gallery and used again while the same `Embeddings`
    are searched. With `file` it is written there, and read when it is there. The provenance tells
    engine, index and recall@k on a sample of the queries against exact search.

    Args:
        options: what all of them are given.
        built: options that make another index.
        looked: options of the search in it.
    """

    not_in_call = ("sample", "file")
    gpu = False  # whether faiss has this index on GPUs too
    least_sample = 1

    def __init__(
        self, options: Options, built: Mapping[str, int], looked: Mapping[str, int]
    ) -> None:
        k, metric, refine, train, sample, seed, file = options
        positive = {"k": k, "refine": refine, **looked}
        others = {"train": train, "seed": seed, **built}
        (positive if self.least_sample else others)["sample"] = sample
        if min(positive.values()) < 1 or min(others.values()) < 0:
            raise ValueError(
                f"{', '.join(positive)} must be 1 or more, {', '.join(others)} 0 or more"
            )
        if max(k, refine, sample, train, seed, *looked.values(), *built.values()) > MOST:
            raise ValueError(f"no number may be above {MOST}")
        if metric not in METRICS:
            raise ValueError(f"metric must be one of {', '.join(METRICS)}, got {metric!r}")
        self.k, self.metric, self.refine, self.train = k, metric, refine, train
        self.sample, self.seed, self.file = sample, seed, file
        self.built, self.looked = dict(built), dict(looked)
        self._last: tuple[weakref.ref[Embeddings], Any] | None = None

    @abc.abstractmethod
    def create_index(self, count: int, dim: int) -> Any:
        """A faiss index for `count` vectors of `dim` numbers, not trained."""

    @abc.abstractmethod
    def set_options(self, index: Any) -> dict[str, int]:
        """Set what steers the search; returns what the index is in truth, for the provenance."""

    def __call__(self, queries: Embeddings, gallery: Embeddings) -> Ranking:
        """Rank the gallery for every query."""
        shape = len(queries), min(self.k, len(gallery))
        indices, scores = np.empty(shape, np.int64), np.empty(shape, np.float32)
        index: dict[str, int] = {}
        if len(gallery):
            found = self.find_index(queries, gallery)
            index = self.set_options(found)
            depth = min(len(gallery), self.candidates())
            if self.gpu:
                found = move_to_gpus(found, depth)
            step = max(1, PROPOSED // depth)
            for start in range(0, len(queries), step):
                here = slice(start, start + step)
                some = slice_embeddings(queries, start, start + step)
                proposed = self._propose(found, some, depth)
                answer = rescore_pairs(some, gallery, proposed, self.k, self.metric)
                indices[here], scores[here] = answer
        facts = {
            "exact": False,
            "engine": f"faiss {import_faiss().__version__}",
            "index": index,
            "recall": self.tell_recall(indices, queries, gallery),
        }
        return Ranking(queries.ids, gallery.known_ids, indices, scores, facts)

    def candidates(self) -> int:
        """How many images the index proposes for a query."""
        return self.k * self.refine

    def tell_recall(
        self, indices: np.ndarray, queries: Embeddings, gallery: Embeddings
    ) -> dict[str, Any]:
        """The recall of an answer [Q, K] on a sample of its queries."""
        return measure_recall(indices, queries, gallery, self.metric, self.sample, self.seed)

    def find_index(self, queries: Embeddings, gallery: Embeddings) -> Any:
        """The index of the gallery: that of the search before, the one in `file`, or a new one."""
        if self._last is None or self._last[0]() is not gallery:
            there = self.file and self.kept.is_there()
            index = self._read(queries, gallery) if there else self._build(gallery)
            self._last = weakref.ref(gallery), index
        return self._last[1]

    @property
    def kept(self) -> IndexFile:
        """The file in which the index is kept, with what makes one of the same vectors another."""
        options = {
            "name": recipe_name(type(self).__name__),
            "metric": self.metric,
            **self.built,
            "train": self.train,
            "seed": self.seed,
        }
        return IndexFile(pathlib.Path(self.file), options)

    def _propose(self, index: Any, queries: Embeddings, depth: int) -> np.ndarray:
        rows = np.full((len(queries), depth), -1, np.int64)
        for mine, block in blocks(queries, self.metric, ROWS) if depth else ():
            rows[mine] = index.search(np.ascontiguousarray(block), depth)[1]
        return rows

    def _build(self, gallery: Embeddings) -> Any:
        """An index of the gallery; written to `file` when there is one."""
        index = self.create_index(len(gallery), gallery.dim)
        if self.file:
            self.kept.check_ours(index)
        if not index.is_trained:
            index.train(self._training_vectors(gallery))
        for _, block in progress(
            blocks(gallery, self.metric, ROWS), "index", -(-len(gallery) // ROWS)
        ):
            index.add(np.ascontiguousarray(block))
        if self.file:
            self.kept.page.unlink(missing_ok=True)  # what stood here before no longer counts
            with atomic(self.file) as file:
                write_index(file, index)
            self.kept.write_page(fingerprint(gallery), gallery.provenance)
        return index

    def _training_vectors(self, gallery: Embeddings) -> np.ndarray:
        """The vectors the index is trained on, drawn by the seed."""
        count = min(len(gallery), self.train or len(gallery))
        rows = np.sort(np.random.default_rng(self.seed).permutation(len(gallery))[:count])
        some = Embeddings(gallery.known_ids[rows], np.asarray(gallery.vectors[rows], np.float32))
        vectors = np.concatenate([block for _, block in blocks(some, self.metric, ROWS)])
        return np.resize(vectors, (max(2, count), gallery.dim))  # a code of one bit needs two

    def _read(self, queries: Embeddings, gallery: Embeddings) -> Any:
        """The index in the file, if it is whole, as asked for, and of this gallery and model."""
        page = self.kept.read_page(queries.provenance)
        if not self.kept.has_digest(page):
            raise self.kept.damaged()
        if page["gallery"] != fingerprint(gallery):
            raise ArtefactError(
                f"{self.file} is the index of another gallery: delete it or name another file"
            )
        return import_faiss().read_index(str(self.file))
