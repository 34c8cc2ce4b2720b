"""Low-rank additions to the linear layers of a backbone that stays as it is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from ...registry import BLOCKS
from ...suggestions import near_names


@BLOCKS.register()
class Lora:
    """W + alpha / rank * B A in place of W, for chosen linear layers (Hu et al., 2022, section
    4.1).

    A starts at random and B at zero, so that nothing changes at first; the names of the network's
    own weights stay. The rest of the backbone is frozen unless `freeze` is False; a network with
    BatchNorm also wants `bn_eval=True`.

    Args:
        rank: of B A.
        alpha: usually as large as the rank, or twice that.
        on: last parts of the names of the layers: "qkv" and "proj" are the attention of most
            transformers of timm, "fc1" and "fc2" their feed-forward layers and those of ConvNeXts.
        freeze: whether all weights the backbone had are frozen.

    Raises:
        ValueError: an illegal number.

    Source: Hu et al., LoRA: Low-Rank Adaptation of Large Language Models, ICLR 2022 (arXiv
        2106.09685)
    Example: lora(rank=8, alpha=16, on=('qkv', 'proj'))
    """

    def __init__(
        self,
        rank: int = 8,
        alpha: float = 16.0,
        on: Sequence[str] = ("qkv", "proj"),
        freeze: bool = True,
    ) -> None:
        if rank < 1 or alpha <= 0 or not on:
            raise ValueError(
                f"rank must be 1 or more, alpha positive and on not empty, got {rank}, {alpha}, {on}"
            )
        self.rank, self.alpha, self.on, self.freeze = rank, alpha, tuple(on), freeze

    def __call__(self, backbone: Any) -> Any:
        """The same backbone.

        Raises:
            ValueError: a name fits no linear layer of it.
        """
        linear = {
            name: module
            for name, module in backbone.named_modules()
            if isinstance(module, nn.Linear)
        }
        chosen = {part: _ending_in(part, linear) for part in self.on}
        for part, names in chosen.items():
            if not names:
                known = sorted({name.rpartition(".")[2] for name in linear})
                near = near_names(part, known, 4, 0.0)
                raise ValueError(
                    f"no linear layer is called {part!r}; near it: {', '.join(near) or 'none at all'}"
                )
        if self.freeze:
            backbone.requires_grad_(False)
        for name in sorted({name for names in chosen.values() for name in names}):
            holder, _, last = name.rpartition(".")
            setattr(
                backbone.get_submodule(holder),
                last,
                LoraLinear(linear[name], self.rank, self.alpha),
            )
        return backbone


class LoraLinear(nn.Linear):
    """A linear layer whose weight is a kept one plus a product of two thin ones.

    `weight` is the sum, since some networks read it instead of calling the layer; in the state dict
    it is the kept one.

    Args:
        linear: whose weight and bias are kept, not copied.
        rank: rows of the first factor.
        alpha: the product is multiplied with alpha / rank.
    """

    def __init__(self, linear: nn.Linear, rank: int, alpha: float) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self._parameters["weight"] = linear._parameters["weight"]
        self.register_parameter("bias", linear.bias)
        self.scale = alpha / rank
        kept = linear.weight
        self.lora_down = nn.Parameter(kept.new_empty(rank, self.in_features))
        self.lora_up = nn.Parameter(kept.new_zeros(self.out_features, rank))
        nn.init.kaiming_uniform_(self.lora_down, a=math.sqrt(5))

    @property
    def weight(self) -> torch.Tensor:  # type: ignore[override]
        """The kept weight plus the product, [out, in]."""
        kept = self._parameters["weight"]
        assert kept is not None
        return kept + self.scale * (self.lora_up @ self.lora_down)


def _ending_in(part: str, names: Any) -> list[str]:
    return [name for name in names if f".{name}".endswith(f".{part}")]
