"""A few tokens that attend to an image's positions, side by side."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from ...registry import BRANCHES, pick
from ..layers.cross_attention import CrossAttention, FeedForward, check_heads, flatten_map
from ..layers.precision import at_least_float, full_precision
from ._necks import check_dim


@BRANCHES.register()
class Token(nn.Module):
    """Token-based representation (Wu et al., 2022).

    Self-attention refines the positions. A tokenizer shares every position out over L learned
    queries (a softmax over the queries) and sums them; refinement blocks let the tokens attend to
    the positions and to one another. The tokens, side by side, go through a linear layer and
    BatchNorm.

    Args:
        on: the map.
        tokens: L, 4 in the paper.
        hidden: channels of positions and tokens, 1024 in the paper.
        dim: D of the embedding.
        blocks: refinement blocks, 2 in the paper.
        heads: of every attention, 8 in the paper.
        dropout: in attention and feed-forward layers, 0.1 in the paper.
        channels: map name -> channels, of the backbone.

    Raises:
        ValueError: a map the backbone does not give, or an illegal number.

    Source: Wu et al., Learning Token-Based Representation for Image Retrieval, AAAI 2022 (arXiv
        2112.06159), tokenizer and refinement block
    Example: token(on='s4', tokens=4, hidden=1024, dim=1024)
    """

    def __init__(
        self,
        on: str = "s4",
        tokens: int = 4,
        hidden: int = 1024,
        dim: int = 1024,
        blocks: int = 2,
        heads: int = 8,
        dropout: float = 0.1,
        *,
        channels: Mapping[str, int],
    ) -> None:
        super().__init__()
        if tokens < 1 or blocks < 1:
            raise ValueError(f"tokens and blocks must be 1 or more, got {tokens} and {blocks}")
        self.on = on
        width = pick(channels, on, "map of the backbone")
        check_heads(check_dim(hidden), heads)
        self.reduce = nn.Sequential(nn.Conv2d(width, hidden, 1), nn.BatchNorm2d(hidden))
        self.relate = CrossAttention(hidden, heads, dropout)
        self.relate_further = nn.Sequential(nn.LayerNorm(hidden), nn.Linear(hidden, hidden))
        self.queries = nn.Parameter(torch.randn(tokens, hidden))
        self.norm = nn.Sequential(nn.Linear(hidden, hidden), nn.LayerNorm(hidden))
        self.blocks = nn.ModuleList(_Refine(hidden, heads, dropout) for _ in range(blocks))
        self.neck = nn.Sequential(nn.Linear(tokens * hidden, check_dim(dim)), nn.BatchNorm1d(dim))
        self.dims = {"token": dim}

    def forward(self, maps: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Maps [B, C, h, w] -> {"token": [B, dim]}."""
        positions = flatten_map(self.reduce(maps[self.on]))
        positions = positions + self.relate(positions, positions)
        positions = positions + self.relate_further(positions)
        tokens = self.norm(self._tokenize(positions))
        for block in self.blocks:
            tokens = block(tokens, positions)
        return {"token": self.neck(tokens.flatten(1))}

    def _tokenize(self, positions: torch.Tensor) -> torch.Tensor:
        """[B, N, hidden] -> [B, L, hidden]."""
        with full_precision(positions):
            values = at_least_float(positions)
            shares = (self.queries @ values.transpose(1, 2)).softmax(dim=1)
            return shares @ values


class _Refine(nn.Module):
    """Tokens attend to the positions, then to one another."""

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.norm_cross, self.norm_self = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.cross = CrossAttention(dim, heads, dropout)
        self.among = CrossAttention(dim, heads, dropout)
        self.mix = FeedForward(dim, 2 * dim, dropout)

    def forward(self, tokens: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """[B, L, D] and [B, N, D] to [B, L, D]."""
        tokens = tokens + self.cross(self.norm_cross(tokens), positions)
        tokens = tokens + self.mix(tokens)
        normed = self.norm_self(tokens)
        return tokens + self.among(normed, normed)
