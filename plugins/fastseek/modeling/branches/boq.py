"""Learned queries that ask the positions of a map."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import nn

from ...registry import BRANCHES, pick
from ..layers.cross_attention import check_heads, flatten_map
from ..layers.precision import at_least_float
from ._necks import check_dim

WIDTH_OF_A_HEAD = 64


@BRANCHES.register()
class Boq(nn.Module):
    """Bag of learnable queries (Ali-bey et al., 2024).

    A 3x3 convolution reduces the map; then blocks follow each other. In each, a transformer layer
    refines the positions, and learned queries, which first attend to one another, ask them by
    cross-attention. The answers of all blocks are reduced by a linear layer across queries, laid
    side by side and brought to length 1.

    Args:
        on: the map.
        hidden: channels of the positions and queries, 512 in the paper.
        queries: of one block, 64 in the paper.
        blocks: how many, 2 in the paper.
        rows: what the answers of all queries are reduced to; D = rows * hidden.
        channels: map name -> channels, of the backbone.

    Raises:
        ValueError: a map the backbone does not give, or an illegal number.

    Source: Ali-bey, Chaib-draa and Giguere, BoQ: A Place is Worth a Bag of Learnable Queries, CVPR
        2024 (arXiv 2405.07364), section 3
    Example: boq(on='s4', hidden=512, queries=64, blocks=2, rows=32)
    """

    def __init__(
        self,
        on: str = "s4",
        hidden: int = 512,
        queries: int = 64,
        blocks: int = 2,
        rows: int = 32,
        *,
        channels: Mapping[str, int],
    ) -> None:
        super().__init__()
        if min(queries, blocks, rows) < 1:
            raise ValueError(
                f"queries, blocks and rows must be 1 or more, got {queries}, {blocks}, {rows}"
            )
        self.on = on
        width = pick(channels, on, "map of the backbone")
        self.project = nn.Conv2d(width, check_dim(hidden), 3, padding=1)
        self.norm = nn.LayerNorm(hidden)
        self.blocks = nn.ModuleList(_Block(hidden, queries) for _ in range(blocks))
        self.reduce = nn.Linear(blocks * queries, rows)
        self.dims = {"boq": rows * hidden}

    def forward(self, maps: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Maps [B, C, h, w] -> {"boq": [B, rows * hidden]} of length 1."""
        tokens = self.norm(flatten_map(self.project(maps[self.on])))
        answers = []
        for block in self.blocks:
            tokens, answer = block(tokens)
            answers.append(answer)
        together = self.reduce(torch.cat(answers, dim=1).transpose(1, 2))
        return {"boq": F.normalize(at_least_float(together.flatten(1)), dim=1)}


class _Block(nn.Module):
    """Refine the positions, then ask them."""

    def __init__(self, dim: int, queries: int) -> None:
        super().__init__()
        heads = check_heads(dim, max(1, dim // WIDTH_OF_A_HEAD))
        self.refine = nn.TransformerEncoderLayer(
            dim, heads, dim_feedforward=4 * dim, dropout=0.0, batch_first=True
        )
        self.queries = nn.Parameter(torch.randn(1, queries, dim))
        self.among = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.norm_among = nn.LayerNorm(dim)
        self.ask = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.norm_answer = nn.LayerNorm(dim)

    def forward(self, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """[B, N, D] -> (refined [B, N, D], answers [B, queries, D])."""
        tokens = self.refine(tokens)
        queries = self.queries.expand(len(tokens), -1, -1)
        among, _ = self.among(queries, queries, queries, need_weights=False)
        queries = self.norm_among(queries + among)
        answers, _ = self.ask(queries, tokens, tokens, need_weights=False)
        return tokens, self.norm_answer(answers)
