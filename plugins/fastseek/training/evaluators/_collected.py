"""The vectors of a test set, batch by batch, from this process and the others."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from ...data.rejects import Reject
from ...distributed import process_group
from ...inference.embedding import gather
from ...structures import Item

from fastreid.utils import comm

Judge = Callable[..., OrderedDict[str, float]]
NameRejects = Callable[[Sequence[Reject]], None]


class SetVectors(NamedTuple):
    """Items of a test set, the numbers of those that have a vector, [n] rising, the vectors [n, D],
    and the rejects of this process.
    """

    items: Sequence[Item]
    rows: np.ndarray
    vectors: np.ndarray
    rejects: list[Reject]


class Collected:
    """An evaluator that keeps what the model made of every image; a child judges it.

    Args:
        num_query: how many images at the front are queries.
        items: of the test set, in order; None takes paths, labels and cameras from the batches, as
            fast-reid's loaders bring them.
        name_rejects: called with the images that could not be read.
    """

    follows_recipe = True

    def __init__(
        self, num_query: int, items: Sequence[Item] | None, name_rejects: NameRejects
    ) -> None:
        self.num_query, self.items, self.name_rejects = num_query, items, name_rejects
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._vectors: list[np.ndarray] = []
        self._rows: list[np.ndarray] = []
        self._rejects: list[Reject] = []
        self._seen: list[tuple[str, str, str]] = []

    def process(self, inputs: Mapping[str, Any], outputs: torch.Tensor) -> None:
        """Take a batch and its vectors [B, D]."""
        self._rejects += inputs.get("rejects", [])
        if not len(outputs):
            return  # no image of the batch could be read
        self._vectors.append(outputs.detach().float().cpu().numpy())
        if self.items is not None:
            self._rows.append(np.asarray(inputs["rows"]))
            return
        columns = (inputs["img_paths"], _as_text(inputs["targets"]), _as_text(inputs["camids"]))
        self._seen += zip(*columns, strict=True)

    def gather(self) -> SetVectors:
        """What all processes have taken, in every process; what could not be read is named."""
        self.name_rejects(self._rejects)
        vectors = np.concatenate(self._vectors) if self._vectors else np.empty((0, 0), np.float32)
        if self.items is None:
            shares = [
                found for found in process_group.collect(self._seen) if isinstance(found, list)
            ]
            first = sum(map(len, shares[: comm.get_rank()]))
            items: Sequence[Item] = self._made_of([one for share in shares for one in share])
            rows = np.arange(first, first + len(vectors), dtype=np.int64)
        else:
            items = self.items
            rows = np.concatenate(self._rows) if self._rows else np.empty(0, np.int64)
        if comm.get_world_size() > 1:
            rows, vectors = gather(rows, vectors)
        return SetVectors(items, rows, vectors, self._rejects)

    def _made_of(self, seen: Sequence[tuple[str, str, str]]) -> list[Item]:
        sides = ["query"] * self.num_query + ["gallery"] * (len(seen) - self.num_query)
        return [
            Item(path=path, label=label, group=group, split=side)
            for (path, label, group), side in zip(seen, sides, strict=True)
        ]


def _as_text(values: Any) -> list[str]:
    return [str(value) for value in (values.tolist() if hasattr(values, "tolist") else values)]
