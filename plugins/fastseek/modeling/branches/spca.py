"""What surrounds every position, and how far away, fused with what stands there."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from ...registry import BRANCHES, pick
from ..layers.cross_attention import CrossAttention, FeedForward, check_heads, flatten_map
from ..layers.gem import Gem
from ..layers.precision import at_least_float, full_precision
from ._necks import check_dim

EPSILON = 1e-8


@BRANCHES.register()
class Spca(nn.Module):
    """Spatial-context-aware global features (Zhang et al., 2023).

    Positions, reduced to `hidden` channels, belong to K learned Gaussian tokens by shares. A random
    walk between positions, whose steps are likelier the nearer two positions are (exp of minus
    their distance), carries these shares around: after 2, 3 and more steps every position knows
    which tokens lie about it and how near. That context is fused with the map by cross-attention;
    GeM and a linear layer follow. The tokens are learned by the gradient alone; the paper also
    moves them by online expectation-maximisation.

    Args:
        on: the map.
        tokens: K.
        hidden: channels in which positions and tokens are compared.
        reaches: how many lengths of the walk are told, from 2 steps on.
        dim: D of the embedding.
        heads: of the cross-attention.
        channels: map name -> channels, of the backbone.

    Raises:
        ValueError: a map the backbone does not give, or an illegal number.

    Source: Zhang et al., Learning Spatial-context-aware Global Visual Feature Representation for
        Instance Image Retrieval, ICCV 2023, token learning and distance encoding
    Example: spca(on='s4', tokens=64, hidden=128, dim=512)
    """

    def __init__(
        self,
        on: str = "s4",
        tokens: int = 64,
        hidden: int = 128,
        reaches: int = 2,
        dim: int = 512,
        heads: int = 8,
        *,
        channels: Mapping[str, int],
    ) -> None:
        super().__init__()
        if tokens < 1 or reaches < 1:
            raise ValueError(f"tokens and reaches must be 1 or more, got {tokens} and {reaches}")
        self.on, self.reaches = on, reaches
        width = pick(channels, on, "map of the backbone")
        check_heads(width, heads)
        self.reduce = nn.Conv2d(width, check_dim(hidden), 1, bias=False)
        self.tokens = nn.Parameter(nn.init.xavier_uniform_(torch.empty(tokens, hidden)))
        self.log_share = nn.Parameter(torch.zeros(tokens))
        self.log_variance = nn.Parameter(torch.zeros(tokens))
        self.norm_context = nn.LayerNorm(tokens * reaches)
        self.project = nn.Linear(tokens * reaches, width)
        self.norm = nn.LayerNorm(width)
        self.fuse = CrossAttention(width, heads)
        self.mix = FeedForward(width, 2 * width)
        self.pool = Gem(3.0)
        self.neck = nn.Linear(width, check_dim(dim))
        self.dims = {"spca": dim}

    def forward(self, maps: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Maps [B, C, h, w] -> {"spca": [B, dim]}."""
        whole = maps[self.on]
        context = self.project(self.norm_context(self.describe(whole)))
        tokens = flatten_map(whole)
        tokens = tokens + self.fuse(self.norm(tokens), context)
        tokens = tokens + self.mix(tokens)
        return {"spca": self.neck(self.pool(tokens.transpose(1, 2).reshape(whole.shape)))}

    def describe(self, whole: torch.Tensor) -> torch.Tensor:
        """The context [B, h * w, K * reaches] of every position of a map [B, C, h, w]."""
        shares = self._assign(whole)
        with full_precision(whole):
            step = _walk(*whole.shape[2:], like=shares)
            found, carried = [], step @ shares
            for _ in range(self.reaches):
                carried = step @ carried
                found.append(carried)
            return torch.cat(found, dim=2)

    def _assign(self, whole: torch.Tensor) -> torch.Tensor:
        """[B, h * w, K]; over all positions the shares of a token sum to 1."""
        tokens = flatten_map(self.reduce(whole))
        with full_precision(whole):
            tokens = at_least_float(tokens)
            squares = torch.cdist(tokens, self.tokens.expand(len(tokens), -1, -1)).square()
            weights = self.log_share.log_softmax(0) - self.log_variance / 2
            logits = weights - squares / (2 * self.log_variance.exp())
            shares = logits.softmax(dim=2) + EPSILON
            return shares / shares.sum(dim=1, keepdim=True)


def _walk(height: int, width: int, *, like: torch.Tensor) -> torch.Tensor:
    """[h * w, h * w] chances of a step; every row sums to 1."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    places = torch.stack([rows.flatten(), columns.flatten()], dim=1).to(like)
    return (-torch.cdist(places, places)).softmax(dim=1)
