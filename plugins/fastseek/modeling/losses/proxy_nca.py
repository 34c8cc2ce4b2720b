"""ProxyNCA++."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from ...registry import LOSSES
from ._legal import check_positive
from ._margin_softmax import MarginSoftmax


@LOSSES.register()
class ProxyNca(MarginSoftmax):
    """Cross-entropy over the squared distances to one proxy a class, both of length 1 (ProxyNCA++).

    A row costs -log of its proxy's share in the sum of exp(-d^2 / temperature) over all proxies, its
    own included. As d^2 = 2 - 2 cos this is a softmax over cosines of scale 2 / temperature without
    a margin, and is computed so. The paper's other five changes are the recipe's: class-balanced
    batches (sampler `pk`), max pooling, layer norm, and a higher learning rate for the proxies
    (SEEK.RATES).

    Args:
        on: name of the embedding.
        temperature: what the squared distances are divided by.
        weight: factor of the loss.
        smoothing: label smoothing.
        shard: share the classes out over the processes of the run, as for `subcenter_arcface`.
        dims: embedding name -> D.
        counts: int64 [C], training images of every class.

    Raises:
        ValueError: unknown embedding, or an illegal temperature or smoothing; or shard with fewer
            classes than processes.

    Source: Teh et al., ProxyNCA++: Revisiting and Revitalizing Proxy Neighborhood Component
        Analysis, ECCV 2020 (arXiv 2004.01113), section 3: the proxy assignment probability with
        temperature
    Example: proxy_nca(on='gem', temperature=0.11)
    """

    defaults = {"s": 18.0, "margin": 0.0, "weight": 1.0, "dropout": 0.0}

    def __init__(
        self,
        on: str,
        temperature: float = 1 / 9,
        weight: float = 1.0,
        smoothing: float = 0.0,
        shard: bool = False,
        *,
        dims: Mapping[str, int],
        counts: torch.Tensor,
    ) -> None:
        check_positive(temperature=temperature)
        super().__init__(
            on,
            2 / temperature,
            weight=weight,
            smoothing=smoothing,
            shard=shard,
            dims=dims,
            counts=counts,
        )
        self.temperature = temperature

    def apply_margin(
        self, cosine: torch.Tensor, own: torch.Tensor, margin: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """There is none."""
        return cosine, own
