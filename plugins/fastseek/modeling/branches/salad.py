"""Positions carried to clusters by optimal transport, beside one global token."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import nn

from ...registry import BRANCHES, pick
from ..layers.precision import at_least_float, full_precision
from ..layers.transport import transport_with_dustbin

HIDDEN = 512  # of the three small networks
ITERATIONS = 3  # of Sinkhorn's algorithm


@BRANCHES.register()
class Salad(nn.Module):
    """Optimal transport aggregation, SALAD (Izquierdo and Civera, 2024).

    A small network scores every position for K clusters; Sinkhorn's algorithm shares it out over
    them and a dustbin for what tells nothing. With these shares the positions, reduced to
    `cluster_dim` channels, are summed for every cluster and brought to length 1; a global token
    stands before them.

    Args:
        on: the map, a vision transformer's patch tokens in the paper.
        token: the vector or map of the global token, such as a class token; "" takes the mean of
            `on`.
        clusters: K, 64 in the paper.
        cluster_dim: channels of a cluster, 128 in the paper.
        token_dim: channels of the global token, 256 in the paper.
        dropout: in the networks, 0.3 in the paper.
        channels: map name -> channels, of the backbone.

    Raises:
        ValueError: a map the backbone does not give, an illegal number, or, at a batch, a map with
            no more positions than clusters.

    Source: Izquierdo and Civera, Optimal Transport Aggregation for Visual Place Recognition, CVPR
        2024 (arXiv 2311.15937), section 3
    Example: salad(on='s4', clusters=64, cluster_dim=128)
    """

    def __init__(
        self,
        on: str = "s4",
        token: str = "",
        clusters: int = 64,
        cluster_dim: int = 128,
        token_dim: int = 256,
        dropout: float = 0.3,
        *,
        channels: Mapping[str, int],
    ) -> None:
        super().__init__()
        if min(clusters, cluster_dim, token_dim) < 1:
            raise ValueError(
                "clusters, cluster_dim and token_dim must be 1 or more, got"
                f" {clusters}, {cluster_dim} and {token_dim}"
            )
        self.on, self.whole = on, token or on
        width = pick(channels, on, "map of the backbone")
        deep = pick(channels, self.whole, "map of the backbone")
        self.features = _small_network(width, cluster_dim, dropout)
        self.score = _small_network(width, clusters, dropout)
        self.token = nn.Sequential(nn.Linear(deep, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, token_dim))
        self.dustbin = nn.Parameter(torch.tensor(1.0))
        self.dims = {"salad": token_dim + clusters * cluster_dim}

    def forward(self, maps: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Maps [B, C, h, w] -> {"salad": [B, token_dim + K * cluster_dim]} of length 1."""
        near, deep = maps[self.on], maps[self.whole]
        if deep.dim() == 4:
            deep = deep.mean(dim=(2, 3))
        features = self.features(near).flatten(2)
        shares = transport_with_dustbin(self.score(near).flatten(2), self.dustbin, ITERATIONS)
        token = self.token(deep)
        with full_precision(near):
            sums = at_least_float(features) @ shares[:, :-1].transpose(1, 2)
            clusters = F.normalize(sums, dim=1).flatten(1)
            token = F.normalize(at_least_float(token), dim=1)
            return {"salad": F.normalize(torch.cat([token, clusters], dim=1), dim=1)}


def _small_network(width: int, out: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(width, HIDDEN, 1), nn.Dropout(dropout), nn.ReLU(), nn.Conv2d(HIDDEN, out, 1)
    )
