"""Proxy-Anchor."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import nn

from ...registry import LOSSES, pick
from ..layers.class_shard import ClassShard, add_shares, nearest_class
from ..layers.gather import gather_tensor, gather_with_gradient
from ..layers.precision import at_least_float, full_precision
from ._legal import check_cosines, check_positive
from ._pairs import log_one_plus_exp, log_sum_exp


@LOSSES.register()
class ProxyAnchor(nn.Module):
    """A proxy a class is the anchor: it draws the rows of its class in the batch and pushes the
    others, the hardest most.

    With cosines s the proxy of a class that has rows in the batch costs log(1 + sum of exp(-alpha (s
    - delta))) over them, as a mean over such classes; every proxy costs log(1 + sum of exp(alpha (s
    + delta))) over the rows of other classes, as a mean over all classes. The rows of all processes
    are one batch. The paper gives the proxies 100 times the learning rate of the network
    (SEEK.RATES "losses.proxy_anchor: 100").

    Args:
        on: name of the embedding.
        alpha: how much more a hard row weighs.
        delta: margin of the cosines.
        weight: factor of the loss.
        shard: share the classes out over the processes of the run, as for `subcenter_arcface`.
        dims: embedding name -> D.
        counts: int64 [C], training images of every class.

    Raises:
        ValueError: unknown embedding, alpha that is not positive or delta that is no cosine; or
            shard with fewer classes than processes.

    Source: Kim et al., Proxy Anchor Loss for Deep Metric Learning, CVPR 2020 (arXiv 2003.13911),
        equation 4
    Example: proxy_anchor(on='gem', alpha=32, delta=0.1)
    """

    def __init__(
        self,
        on: str,
        alpha: float = 32.0,
        delta: float = 0.1,
        weight: float = 1.0,
        shard: bool = False,
        *,
        dims: Mapping[str, int],
        counts: torch.Tensor,
    ) -> None:
        super().__init__()
        check_positive(alpha=alpha)
        check_cosines(delta=delta)
        self.on = on
        self.alpha = alpha
        self.delta = delta
        self.factor = weight
        self.shard = ClassShard(len(counts), 1, shard)
        self.weight = self.shard.centers(pick(dims, on, "embedding of the branches"))
        self.accuracy: torch.Tensor | None = None

    def forward(self, embedding: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """[B, D] and int64 [B] -> scalar; keeps the share of rows whose nearest class is their own
        in `accuracy`.
        """
        with full_precision(embedding):
            rows, targets = self._gather(at_least_float(embedding), targets)
            cosine = self._cosine(rows)
            block = self.shard.block
            best, place = cosine.detach().max(dim=1)
            nearest = nearest_class(best, place + block.first, block)
            self.accuracy = (nearest == targets).float().mean()
            classes = torch.arange(self.shard.first, self.shard.last, device=targets.device)
            own = targets.unsqueeze(1) == classes
            near = log_sum_exp(-self.alpha * (cosine - self.delta), own, dim=0)
            far = log_sum_exp(self.alpha * (cosine + self.delta), ~own, dim=0)
            share = log_one_plus_exp(near).sum() / targets.unique().numel()
            share = share + log_one_plus_exp(far).sum() / block.classes
            return self.factor * add_shares(share, block)

    def logits(self, embedding: torch.Tensor) -> torch.Tensor:
        """[B, D] -> float32 [B, C], alpha times the cosines to the proxies.

        Raises:
            UsageError: the classes are shared out over several processes.
        """
        self.shard.check_whole()
        with full_precision(embedding):
            return self.alpha * self._cosine(at_least_float(embedding))

    def _gather(
        self, vectors: torch.Tensor, targets: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The rows of all processes, which no sum over the rows of one can replace."""
        if self.shard.shared:
            return self.shard.gather(vectors, targets)
        return gather_with_gradient(vectors), gather_tensor(targets)

    def _cosine(self, vectors: torch.Tensor) -> torch.Tensor:
        return F.linear(F.normalize(vectors), F.normalize(self.weight.to(vectors.dtype)))
