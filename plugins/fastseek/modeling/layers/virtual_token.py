"""Pooling by a token that looks at all others."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class VirtualToken(nn.Module):
    """One learned token that attends over all tokens behind the last layer; it is in no window.

    A token among the others would break window attention, whose windows must divide the token count
    evenly; so this one comes after them, as the class attention of Touvron et al., Going Deeper
    with Image Transformers, 2021. It starts as the mean over the tokens: the query is zero, values
    and output pass unchanged.

    Args:
        dim: C of the tokens.
        heads: how many queries share the channels.

    Raises:
        ValueError: the heads do not divide the channels.
    """

    def __init__(self, dim: int, heads: int = 8) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"{heads} heads do not divide {dim} channels")
        self.token = nn.Parameter(torch.zeros(heads, dim // heads))
        self.key, self.value, self.out = (nn.Linear(dim, dim, bias=False) for _ in range(3))
        nn.init.trunc_normal_(self.key.weight, std=0.02)
        for layer in (self.value, self.out):
            nn.init.eye_(layer.weight)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """[B, N, C] -> [B, C]."""
        query = self.token[None, :, None].expand(tokens.shape[0], -1, -1, -1)
        keys, values = (
            layer(tokens).unflatten(2, self.token.shape).transpose(1, 2)
            for layer in (self.key, self.value)
        )
        return self.out(
            F.scaled_dot_product_attention(query.to(keys.dtype), keys, values).flatten(1)
        )
