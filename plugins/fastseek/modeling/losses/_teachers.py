"""Vectors that other models have made of the training images, found by their ids."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ...errors import DataError
from ...knn.align import rows_of
from ...structures import Embeddings
from ...structures.arrays import IntArray


class Teacher:
    """One folder of stored embeddings, opened when it is first asked for.

    So a model that was trained with it can be used where the folder is not.

    Args:
        path: the folder, or a file of vectors, as `Embeddings.load` takes it.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._opened: Embeddings | None = None

    @property
    def embeddings(self) -> Embeddings:
        """What is stored, memory-mapped.

        Raises:
            DataError, ArtefactError: it is not there, or damaged.
        """
        if self._opened is None:
            self._opened = Embeddings.load(self.path)
        return self._opened

    def find(self, ids: Sequence[str], everyone: bool) -> IntArray:
        """The row [N] of every image, -1 where it is not there.

        Args:
            ids: of the images.
            everyone: whether all of them must be there.

        Raises:
            DataError: an image is not there; names it.
        """
        stored = self.embeddings
        rows = rows_of(ids, stored.known_ids)
        missing = np.flatnonzero(rows < 0)
        if everyone and len(missing):
            first = f", the first {stored.id_column[0]!r}" if len(stored) else ""
            raise DataError(
                f"{self.path}: no vector of {ids[missing[0]]!r}: of {len(ids)} training images"
                f" {len(missing)} are not among its {len(stored)}{first}. Embed the images of the"
                " recipe's data set by this teacher; where each teacher knows some of them,"
                " cover='any'"
            )
        return rows

    def look_up(self, ids: Sequence[str], everyone: bool) -> tuple[torch.Tensor, torch.Tensor]:
        """The vectors of some images.

        Args:
            ids: [B], of the images.
            everyone: whether all of them must be there.

        Returns:
            float32 [B, D], zeros where an image is not there, and bool [B]: whether it is.

        Raises:
            DataError: an image is not there, or its vector is not finite; names it.
        """
        rows = self.find(ids, everyone)
        stored, known = self.embeddings, rows >= 0
        vectors = np.zeros((len(ids), stored.dim), np.float32)
        vectors[known] = np.asarray(stored.vectors[rows[known]], np.float32)
        broken = ~np.isfinite(vectors).all(axis=1)
        if broken.any():
            name = ids[int(broken.argmax())]
            raise DataError(f"{self.path}: the vector of {name!r} is not finite: embed it again")
        return torch.from_numpy(vectors), torch.from_numpy(known)
