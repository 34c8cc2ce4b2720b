"""Attention from one set of tokens to another."""

from __future__ import annotations

import torch
from torch import nn


def flatten_map(maps: torch.Tensor) -> torch.Tensor:
    """[B, C, h, w] as tokens [B, h * w, C]."""
    return maps.flatten(2).transpose(1, 2)


def check_heads(dim: int, heads: int) -> int:
    """The number of heads as it is.

    Raises:
        ValueError: it does not divide the width of the tokens.
    """
    if heads < 1 or dim % heads:
        raise ValueError(f"heads must divide {dim}, the width of the tokens, got {heads}")
    return heads


class CrossAttention(nn.Module):
    """Multi-head attention whose output starts at zero, so that its residual starts as identity.

    Args:
        dim: width of all tokens.
        heads: how many heads; they divide `dim`.
        dropout: of the attention weights and of the output.

    Raises:
        ValueError: the heads do not divide `dim`.

    Source: Vaswani et al., Attention Is All You Need, NeurIPS 2017 (arXiv 1706.03762)
    """

    def __init__(self, dim: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(
            dim, check_heads(dim, heads), dropout=dropout, batch_first=True
        )
        self.dropout = nn.Dropout(dropout)
        nn.init.zeros_(self.attention.out_proj.weight)
        nn.init.zeros_(self.attention.out_proj.bias)

    def forward(self, queries: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """[B, Q, D] and [B, N, D] to [B, Q, D]."""
        found, _ = self.attention(queries, tokens, tokens, need_weights=False)
        return self.dropout(found)


class FeedForward(nn.Module):
    """Linear, GELU, linear, from and to one width.

    Args:
        dim: width of the tokens.
        hidden: width in between.
        dropout: behind both layers.
    """

    def __init__(self, dim: int, hidden: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(dim, hidden),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, dim),
            nn.Dropout(dropout),
        )

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """[B, N, D] to [B, N, D]."""
        found: torch.Tensor = self.layers(tokens)
        return found
