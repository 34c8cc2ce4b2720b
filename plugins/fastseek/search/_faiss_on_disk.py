"""What the faiss searches share whose inverted lists stay on disk."""

from __future__ import annotations

import functools
import pathlib
import tempfile
import weakref
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..structures import Embeddings
from ._faiss_index import FaissIndex, Options
from ._faiss_kept import Wanted, join_digests, open_kept
from ._faiss_lists import lists_of
from ._faiss_probes import Setting, choose_setting
from ._row_digests import digest_rows


class FaissOnDisk(FaissIndex):
    """A search in lists that lie in a file and are mapped; see `FaissIndex` for all else.

    As few lists are looked into as find the share `recall` of the nearest images of some stored
    ones, measured when the lists were written. A file of a gallery that has changed since is
    brought up to date.

    Args:
        options: as for `FaissIndex`.
        built: as for `FaissIndex`.
        recall: the share that is wanted.
    """

    least_sample = 0

    def __init__(self, options: Options, built: Mapping[str, int], recall: float) -> None:
        if not 0 < recall <= 1:
            raise ValueError(f"recall must be above 0 and at most 1, got {recall}")
        super().__init__(options, built, {})
        self.recall = recall
        self._setting = Setting(1, self.k)

    def find_index(self, queries: Embeddings, gallery: Embeddings) -> Any:
        """The index of the gallery: that of the search before, the one in the file, or a new one."""
        if self._last is None or self._last[0]() is not gallery:
            index, page = self._open(queries, gallery)
            rows = len(gallery) / lists_of(index).nlist
            self._setting = choose_setting(page["settings"], self.k, self.recall, rows)
            self._last = weakref.ref(gallery), index
        return self._last[1]

    def set_options(self, index: Any) -> dict[str, int]:
        """Set what steers the search; returns what the index is in truth, for the provenance."""
        lists = lists_of(index)
        lists.nprobe = min(self._setting.probes, lists.nlist)
        return {
            "lists": lists.nlist,
            "probes": lists.nprobe,
            "candidates": self.candidates(),
            "bytes": lists.code_size,
        }

    def candidates(self) -> int:
        """How many images the index proposes for a query."""
        return self._setting.candidates

    def tell_recall(
        self, indices: np.ndarray, queries: Embeddings, gallery: Embeddings
    ) -> dict[str, Any]:
        """The recall of an answer [Q, K] on a sample of its queries, or else of stored images."""
        if self.sample:
            return super().tell_recall(indices, queries, gallery)
        _, _, k, value = self._setting if len(gallery) else Setting(1, self.k)
        return {"k": k, "value": value, "of": "stored images", "seed": self.seed}

    def _open(self, queries: Embeddings, gallery: Embeddings) -> tuple[Any, dict[str, Any]]:
        kept, digests = self.kept, digest_rows(gallery.vectors)
        create = functools.partial(self.create_index, len(gallery), gallery.dim)
        wanted = Wanted(kept, gallery, digests, self.metric, self.seed, self.train, create)
        name = f"{join_digests(digests)[:16]}.faiss"
        if not self.file:
            # Once it is mapped it needs no name.
            with tempfile.TemporaryDirectory(
                prefix="fastseek-", ignore_cleanup_errors=True
            ) as home:
                kept = kept._replace(path=pathlib.Path(home) / name)
                return open_kept(wanted._replace(kept=kept), queries.provenance)
        if self.file.endswith("/") or kept.path.is_dir():
            wanted = wanted._replace(kept=kept._replace(path=kept.path / name))
        return open_kept(wanted, queries.provenance)
