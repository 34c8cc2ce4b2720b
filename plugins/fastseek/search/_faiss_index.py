"""What the faiss searches share: the index of a gallery, trained by a seed, kept on disk, its
recall measured.
"""

from __future__ import annotations

import abc
import logging
import pathlib
import weakref
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ..errors import ArtefactError, UsageError
from ..io.atomic import atomic
from ..io.digests import sha256
from ..io.json_files import read_json, write_json
from ..knn.vectors import METRICS, blocks
from ..progress import progress
from ..registry import recipe_name
from ..structures import Embeddings, Ranking
from ..structures.provenance import first_difference
from ._recall import measure_recall
from ._rescoring import rescore_pairs
from .sharded import fingerprint

FORMAT = 1
ROWS = 16384  # vectors handed to faiss at once
PAGE = {"format", "index", "sha256", "gallery", "passport"}
START, LETTERS = 8, 4  # bytes of an index on disk that tell its kind and dimension; the kind alone
MOST = 2**31 - 1  # faiss counts in 32 bits
GPU_DEPTH = 2048  # more images a query faiss does not find on a GPU
logger = logging.getLogger("fastseek")


def import_faiss() -> Any:
    """The faiss module, CPU or GPU build.

    Raises:
        UsageError: it is not installed; says what to install.
    """
    try:
        import faiss
    except ImportError as error:
        raise UsageError(
            "faiss is not installed: pip install faiss-cpu, or use exact(…)"
        ) from error
    return faiss


def move_to_gpus(index: Any, depth: int) -> Any:
    """The index on all GPUs where the faiss at hand is a GPU build that works for it, else the
    index as it is.

    Args:
        index: trained and filled, its search options set.
        depth: how many images a query will ask for.
    """
    count = getattr(import_faiss(), "get_num_gpus", lambda: 0)()
    if not count or depth > GPU_DEPTH:
        return index
    try:
        there = import_faiss().index_cpu_to_all_gpus(index)
        there.search(
            np.zeros((1, index.d), np.float32), min(depth, 1)
        )  # a wheel may lack this GPU's kernels
    except (RuntimeError, AssertionError) as error:
        logger.warning(
            "faiss cannot use the GPU (%s): searching on the CPU", str(error).splitlines()[0]
        )
        return index
    return there


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

    def __init__(
        self, options: Options, built: Mapping[str, int], looked: Mapping[str, int]
    ) -> None:
        k, metric, refine, train, sample, seed, file = options
        if min(k, refine, sample, *looked.values()) < 1 or min(train, seed, *built.values()) < 0:
            raise ValueError(
                f"k, refine, sample and {', '.join(looked)} must be 1 or more, train, seed and "
                f"{', '.join(built)} 0 or more"
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
        indices, scores, index = (
            np.empty((len(queries), 0), np.int64),
            np.empty((len(queries), 0), np.float32),
            {},
        )
        if len(gallery):
            found = self._find_index(queries, gallery)
            index = self.set_options(found)
            if self.gpu:
                found = move_to_gpus(found, min(len(gallery), self.k * self.refine))
            proposed = self._propose(found, queries, min(len(gallery), self.k * self.refine))
            indices, scores = rescore_pairs(queries, gallery, proposed, self.k, self.metric)
        facts = {
            "exact": False,
            "engine": f"faiss {import_faiss().__version__}",
            "index": index,
            "recall": measure_recall(
                indices, queries, gallery, self.metric, self.sample, self.seed
            ),
        }
        return Ranking(queries.ids, gallery.ids, indices, scores, facts)

    def _find_index(self, queries: Embeddings, gallery: Embeddings) -> Any:
        """The index of the gallery: that of the search before, the one in `file`, or a new one."""
        if self._last is None or self._last[0]() is not gallery:
            index = self._read(queries, gallery) if self._is_written() else self._build(gallery)
            self._last = weakref.ref(gallery), index
        return self._last[1]

    def _index_options(self) -> dict[str, Any]:
        """What makes an index of the same vectors another one."""
        return {
            "name": recipe_name(type(self).__name__),
            "metric": self.metric,
            **self.built,
            "train": self.train,
            "seed": self.seed,
        }

    def faiss_metric(self) -> int:
        """The faiss name of the metric."""
        return (
            import_faiss().METRIC_L2 if self.metric == "l2" else import_faiss().METRIC_INNER_PRODUCT
        )

    def _propose(self, index: Any, queries: Embeddings, depth: int) -> np.ndarray:
        rows = np.full((len(queries), depth), -1, np.int64)
        for mine, block in blocks(queries, self.metric, ROWS) if depth else ():
            rows[mine] = index.search(np.ascontiguousarray(block), depth)[1]
        return rows

    def _build(self, gallery: Embeddings) -> Any:
        """An index of the gallery; written to `file` when there is one."""
        index = self.create_index(len(gallery), gallery.dim)
        if self.file:
            self._check_ours(index)
        if not index.is_trained:
            index.train(self._training_vectors(gallery))
        for _, block in progress(
            blocks(gallery, self.metric, ROWS), "index", -(-len(gallery) // ROWS)
        ):
            index.add(np.ascontiguousarray(block))
        if self.file:
            self._page.unlink(missing_ok=True)  # what stood here before no longer counts
            with atomic(self.file) as file:
                import_faiss().write_index(index, import_faiss().PyCallbackIOWriter(file.write))
            write_json(
                self._page,
                {
                    "format": FORMAT,
                    "index": self._index_options(),
                    "sha256": sha256(self.file),
                    "gallery": fingerprint(gallery),
                    "passport": dict(gallery.provenance),
                },
            )
        return index

    def _check_ours(self, index: Any) -> None:
        """Refuse a file or page that is there and is none of ours; an index whose page was never
        written is ours.

        Raises:
            UsageError: it is not, and would be lost.
        """
        start = bytes(import_faiss().serialize_index(index)[:START])
        found = _read_start(self.file) if pathlib.Path(self.file).is_file() else start
        if len(found) > LETTERS and found != start:
            raise UsageError(
                f"{self.file} is no index of such vectors and would be lost: name another file"
            )
        page = read_json(self._page) if self._page.exists() else dict.fromkeys(PAGE)
        if not isinstance(page, dict) or not PAGE <= set(page):
            raise UsageError(
                f"{self._page} is no page of an index and would be lost: name another file"
            )

    def _training_vectors(self, gallery: Embeddings) -> np.ndarray:
        """The vectors the index is trained on, drawn by the seed."""
        count = min(len(gallery), self.train or len(gallery))
        rows = np.sort(np.random.default_rng(self.seed).permutation(len(gallery))[:count])
        some = Embeddings(gallery.ids[rows], np.asarray(gallery.vectors[rows], np.float32))
        vectors = np.concatenate([block for _, block in blocks(some, self.metric, ROWS)])
        return np.resize(vectors, (max(2, count), gallery.dim))  # a code of one bit needs two

    @property
    def _page(self) -> pathlib.Path:
        """Beside the index: what it is of. Written last, so that half an index does not count."""
        return pathlib.Path(f"{self.file}.json")

    def _is_written(self) -> bool:
        return bool(self.file) and pathlib.Path(self.file).exists() and self._page.exists()

    def _read(self, queries: Embeddings, gallery: Embeddings) -> Any:
        """The index in `file`, if it is whole, as asked for, and of this gallery and model."""
        page = read_json(self._page)
        if not isinstance(page, dict) or page.get("format") != FORMAT:
            raise ArtefactError(
                f"{self._page}: not an index page of format {FORMAT}, which this version reads"
            )
        if page.get("sha256") != sha256(self.file):
            raise ArtefactError(
                f"{self.file}: the bytes are not those that were written: delete it to build it"
                " again"
            )
        if page.get("index") != self._index_options():
            raise ArtefactError(
                f"{self.file} holds {page.get('index')}, not {self._index_options()}: name another file"
            )
        key = first_difference(queries.provenance, page.get("passport", {}))
        if key:
            raise ArtefactError(
                f"{self.file} was built with another {key} than the queries: name another file"
            )
        if page.get("gallery") != fingerprint(gallery):
            raise ArtefactError(
                f"{self.file} is the index of another gallery: delete it or name another file"
            )
        return import_faiss().read_index(str(self.file))


def _read_start(file: str) -> bytes:
    try:
        with open(file, "rb") as there:
            return there.read(START)
    except OSError as error:
        raise UsageError(f"{file}: cannot be read ({error.strerror}): name another file") from error
