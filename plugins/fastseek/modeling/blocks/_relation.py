"""Relation-aware global attention: a weight for every node, from its relations to all others."""

from __future__ import annotations

import torch
from torch import nn


class Relation(nn.Module):
    """One weight in (0, 1) for each of N nodes with F features.

    Every node is described by g, the mean over F/ratio embedded features, and by its affinities to and
    from all nodes, which an embedding brings from 2N to N/ratio numbers. Every embedding is a 1x1
    convolution without bias, BatchNorm and ReLU. Zhang et al., Relation-Aware Global Attention,
    2020.

    Args:
        nodes: N; the weights depend on it.
        features: F.
        ratio: of all three reductions.

    Raises:
        ValueError: there are too few nodes or features for the ratio.
    """

    def __init__(self, nodes: int, features: int, ratio: int = 8) -> None:
        super().__init__()
        relations = 1 + nodes // ratio
        inner = features // ratio
        if relations // ratio < 1 or inner < 1:
            raise ValueError(
                f"relations among {nodes} nodes of {features} features: with ratio {ratio} there"
                f" must be at least {ratio * (ratio - 1)} nodes (h * w positions, or C channels)"
                f" and {ratio} features, or a convolution has no channels. Take a larger map or a"
                " smaller ratio"
            )
        self.theta, self.phi, self.g = (_embedding_layer(features, inner) for _ in range(3))
        self.affinity = _embedding_layer(2 * nodes, nodes // ratio)
        self.weigh = nn.Sequential(
            _embedding_layer(relations, relations // ratio),
            nn.Conv1d(relations // ratio, 1, 1, bias=False),
            nn.BatchNorm1d(1),
        )

    def forward(self, nodes: torch.Tensor) -> torch.Tensor:
        """[B, F, N] -> [B, 1, N]."""
        affinity = self.theta(nodes).transpose(1, 2) @ self.phi(nodes)
        joint = self.affinity(torch.cat([affinity.transpose(1, 2), affinity], dim=1))
        relations = torch.cat([self.g(nodes).mean(dim=1, keepdim=True), joint], dim=1)
        return self.weigh(relations).sigmoid()


def _embedding_layer(channels: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv1d(channels, out, 1, bias=False), nn.BatchNorm1d(out), nn.ReLU())
