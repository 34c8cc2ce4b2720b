"""Cross-batch memory: a batch against the embeddings of the steps before."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import nn

from ...registry import LOSSES, pick
from ..layers.gather import gather_rows
from ..layers.precision import at_least_float, full_precision
from ._hard_pairs import check_margin, hardest_pairs, triplet_cost
from ._memory import is_training_step

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
SELF = 1 - 1e-5


@LOSSES.register()
class Xbm(nn.Module):
    """The loss of every row of a batch against a memory of rows (Wang et al., Cross-Batch Memory,
    2020).

    The memory is a ring that holds the newest `size` rows of all processes, without gradient; a
    batch goes in before its loss is taken. What the rows of the batch cost among themselves is for
    another loss, such as `triplet`, to say. Before step `start` and from step `stop` on nothing
    goes in and the loss is 0. Memory and count are saved with the checkpoint. An anchor the memory
    holds no positive or no negative for costs nothing under "triplet".

    - "triplet": [d_p - d_n + margin]_+, hardest positive and negative in the memory, mean over the
      batch.
    - "contrastive", on cosines: sum of 1 - cos over the same class (from 1 - 1e-5 on it is the row
      itself, and left out) and of [cos - margin]_+ over the others, mean over the batch.

    Args:
        on: name of the embedding.
        loss: "triplet" or "contrastive".
        size: rows the memory holds.
        start: the first step with a memory.
        stop: the first step without it again; None goes on to the end.
        weight: factor of the loss.
        margin: None takes softplus under "triplet", and is not allowed under "contrastive"; "usual"
            is 0.3 and 0.5.
        normalize: whether "triplet" brings all rows to length 1 first.
        dtype: "float32", "float16" or "bfloat16", in which the memory is kept.
        dims: embedding name -> D.

    Raises:
        ValueError: unknown embedding, loss or dtype, or an illegal size, start, stop or margin.

    Source: Wang et al., Cross-Batch Memory for Embedding Learning, CVPR 2020 (arXiv 1912.06798)
    Example: xbm(on='gem', loss='contrastive', size=8192)
    """

    rows: torch.Tensor
    labels: torch.Tensor
    seen: torch.Tensor

    def __init__(
        self,
        on: str,
        loss: str = "triplet",
        size: int = 8192,
        start: int = 1000,
        stop: int | None = None,
        weight: float = 1.0,
        margin: float | str | None = "usual",
        normalize: bool = False,
        dtype: str = "float32",
        *,
        dims: Mapping[str, int],
    ) -> None:
        super().__init__()
        if loss not in ("triplet", "contrastive") or dtype not in DTYPES:
            raise ValueError(
                f"loss must be 'triplet' or 'contrastive' and dtype one of {', '.join(DTYPES)}, "
                f"got {loss!r} and {dtype!r}"
            )
        if size < 1 or start < 0 or (stop is not None and stop < start):
            raise ValueError(
                f"size must be positive and 0 <= start <= stop, got {size}, {start} and {stop}"
            )
        if margin == "usual":
            margin = 0.3 if loss == "triplet" else 0.5
        if isinstance(margin, str) or (margin is None and loss == "contrastive"):
            raise ValueError(
                f"margin must be a number{'' if loss == 'contrastive' else ' or None'}, got"
                f" {margin!r}"
            )
        self.on = on
        self.loss = loss
        self.start = start
        self.stop = stop
        self.factor = weight
        self.margin = check_margin(margin)
        self.normalize = normalize
        self.active = start == 0
        self.register_buffer(
            "rows",
            torch.zeros(size, pick(dims, on, "embedding of the branches"), dtype=DTYPES[dtype]),
        )
        self.register_buffer("labels", torch.zeros(size, dtype=torch.int64))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    @property
    def needs_steps(self) -> bool:
        """Whether the memory is not simply on in every step."""
        return self.start > 0 or self.stop is not None

    def at_step(self, step: int) -> None:
        """Switch the memory on or off as training step `step` (from 0) wants it."""
        self.active = step >= self.start and (self.stop is None or step < self.stop)

    def contents(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The rows [M, D] and labels [M] in the memory, oldest first, M = min(size, rows seen)."""
        seen, size = int(self.seen), len(self.rows)
        order = torch.arange(max(0, seen - size), seen, device=self.rows.device) % size
        return self.rows[order], self.labels[order]

    def forward(self, embedding: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """[B, D] and int64 [B] -> scalar; in training the batch goes into the memory."""
        with full_precision(embedding):
            vectors = at_least_float(embedding)
            if not self.active:
                return 0 * vectors.sum()
            if is_training_step(self):
                self._take(*gather_rows(vectors, targets))
            filled = torch.arange(len(self.rows), device=self.rows.device) < self.seen
            memory = self.rows.to(vectors.dtype)
            cost = self._triplet if self.loss == "triplet" else self._contrastive
            return self.factor * cost(vectors, targets, memory, filled)

    @torch.no_grad()
    def _take(self, vectors: torch.Tensor, targets: torch.Tensor) -> None:
        size, new = len(self.rows), len(targets)
        kept = min(size, new)
        slots = (self.seen + torch.arange(new - kept, new, device=self.rows.device)) % size
        self.rows[slots] = vectors[new - kept :].to(self.rows.dtype)
        self.labels[slots] = targets[new - kept :]
        self.seen += new

    def _triplet(
        self,
        vectors: torch.Tensor,
        targets: torch.Tensor,
        memory: torch.Tensor,
        filled: torch.Tensor,
    ) -> torch.Tensor:
        if self.normalize:
            vectors, memory = F.normalize(vectors), F.normalize(memory)
        positive, negative, usable = hardest_pairs(
            vectors.detach(), targets, memory, self.labels, filled
        )
        cost = triplet_cost(vectors, memory[positive], memory[negative], self.margin)
        return (cost * usable).mean()

    def _contrastive(
        self,
        vectors: torch.Tensor,
        targets: torch.Tensor,
        memory: torch.Tensor,
        filled: torch.Tensor,
    ) -> torch.Tensor:
        cosine = F.linear(F.normalize(vectors), F.normalize(memory))
        same = targets.unsqueeze(1) == self.labels.unsqueeze(0)
        near = (1 - cosine) * (same & filled & (cosine.detach() < SELF))
        assert self.margin is not None  # the constructor refuses a contrastive loss without one
        far = F.relu(cosine - self.margin) * (~same & filled)
        return (near + far).sum(dim=1).mean()
