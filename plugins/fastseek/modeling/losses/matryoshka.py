"""Matryoshka representation learning: a loss over several prefixes of an embedding."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from ...errors import UsageError
from ...registry import LOSSES, build
from ..layers.part_protocols import Classifier, Loss, ReportsAccuracy, call_loss, wants_ids


@LOSSES.register()
class Matryoshka(nn.Module):
    """Any loss over the first numbers of an embedding, for several numbers of them, added up: a
    prefix can then be stored and searched in place of the whole.

    Every prefix has a loss of its own, with its own class weights and memories. Losses that compare
    directions bring every prefix to length 1 by themselves; so does a search by cosine. Where the
    loss classifies, the class scores are those of the longest prefix.

    Args:
        call: the call string of the loss.
        sizes: how many numbers each prefix has, rising; the last one is usually D.
        weights: c_m, one a prefix; () has 1 for each.
        dims: embedding name -> D.
        counts: int64 [C], training images of every class.

    Raises:
        ValueError: no size, sizes that do not rise, or other than one weight a size.
        UsageError: the loss refuses its arguments; at the start of the training, the embedding is
            shorter than the last size.

    Source: Kusupati et al., Matryoshka Representation Learning, NeurIPS 2022 (arXiv 2205.13147),
        equation 1
    Example: matryoshka("supcon(on='gem')", sizes=(16, 32, 64))
    """

    def __init__(
        self,
        call: str,
        sizes: Sequence[int],
        weights: Sequence[float] = (),
        *,
        dims: Mapping[str, int],
        counts: torch.Tensor,
    ) -> None:
        super().__init__()
        self.sizes = tuple(sizes)
        whole = all(type(size) is int and size > 0 for size in self.sizes)
        if not self.sizes or not whole or sorted(set(self.sizes)) != list(self.sizes):
            raise ValueError(f"sizes must be rising whole numbers above 0, got {sizes}")
        self.weights = tuple(weights) or (1.0,) * len(self.sizes)
        if len(self.weights) != len(self.sizes) or min(self.weights) < 0:
            raise ValueError(f"weights must be one a size, none below 0, got {weights}")
        built: list[Any] = [
            build(call, LOSSES, dims=_Cut(dims, size), counts=counts) for size in self.sizes
        ]
        self.losses = nn.ModuleList(built)
        longest = built[-1]
        self.on: str = longest.on
        self.dim = dims[self.on]
        self.wants_ids = wants_ids(longest)
        self.call = f"matryoshka({call!r}, sizes={self.sizes}, weights={self.weights})"
        if isinstance(longest, Classifier):
            self.logits = self._classify

    @property
    def accuracy(self) -> torch.Tensor | None:
        """That of the longest prefix, None where the loss keeps none."""
        longest = self.losses[-1]
        return longest.accuracy if isinstance(longest, ReportsAccuracy) else None

    def start_training(self, steps: int) -> None:
        """Check that the embedding has as many numbers as the last prefix.

        Raises:
            UsageError: it has fewer.
        """
        self._check(self.dim)

    def forward(
        self, embedding: torch.Tensor, targets: torch.Tensor, ids: Sequence[str] | None = None
    ) -> torch.Tensor:
        """[B, D], int64 [B] and, where the loss wants them, the images' ids -> scalar."""
        self._check(embedding.shape[1])
        parts = [
            weight * call_loss(loss, embedding[:, :size], targets, ids)
            for loss, size, weight in zip(self._each(), self.sizes, self.weights, strict=True)
        ]
        return torch.stack(parts).sum()

    def _each(self) -> Iterator[Loss]:
        yield from self.losses  # type: ignore[misc]

    def _classify(self, embedding: torch.Tensor) -> torch.Tensor:
        longest: Any = self.losses[-1]
        scores: torch.Tensor = longest.logits(embedding[:, : self.sizes[-1]])
        return scores

    def _check(self, dim: int) -> None:
        if dim < self.sizes[-1]:
            raise UsageError(
                f"matryoshka: a prefix of {self.sizes[-1]} numbers, and {self.on!r} has {dim}: "
                "give sizes up to that"
            )


class _Cut(Mapping[str, int]):
    """The lengths of embeddings that are cut to `size` numbers."""

    def __init__(self, dims: Mapping[str, int], size: int) -> None:
        self._dims, self._size = dims, size

    def __contains__(self, name: object) -> bool:
        return name in self._dims

    def __getitem__(self, name: str) -> int:
        self._dims[name]
        return self._size

    def __iter__(self) -> Iterator[str]:
        return iter(self._dims)

    def __len__(self) -> int:
        return len(self._dims)
