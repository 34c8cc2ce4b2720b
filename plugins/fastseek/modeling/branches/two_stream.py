"""The whole image and its subject through one network, two features as one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from ...registry import BRANCHES, build
from ..layers.part_protocols import Branch, tested_name

FUSIONS = ("mean", "concat")


@BRANCHES.register()
class TwoStream(nn.Module):
    """A branch for the image and the same branch for its crop, fused (iNat Challenge 2021, first
    place, afterwards).

    The crop comes from SEEK.CROPS, say "boxes(file='boxes.json')"; backbone and branch are shared,
    so the model hardly grows: "mean" adds nothing, "concat" one linear layer of 2 D to D, which
    starts as the mean. Without crops (a tool whose images have no boxes) the image itself stands
    in, as it does for a single image without a box. "two_stream" is the fused embedding,
    "two_stream/whole" and "two_stream/crop" are the two. How the contest fused them is not
    published.

    Args:
        of: call string of the branch, such as "linear_neck(on='s4')"; of its embeddings, the one
            for retrieval.
        fuse: "concat" or "mean".
        channels: map name -> channels, of the backbone.

    Raises:
        ValueError: an unknown fusion. UsageError: the branch cannot be built.

    Source: iNat Challenge 2021 (FGVC8), first place
    Example: two_stream(of="linear_neck(on='s4')", fuse='mean')
    """

    uses_crops = True

    def __init__(self, of: str, fuse: str = "concat", *, channels: Mapping[str, int]) -> None:
        super().__init__()
        if fuse not in FUSIONS:
            raise ValueError(f"fuse must be one of {', '.join(FUSIONS)}, got {fuse!r}")
        self.of = build(of, BRANCHES, channels=channels)
        branch: Branch = self.of
        self.name = tested_name(branch, next(iter(branch.dims)))
        dim = branch.dims[self.name]
        self.fuse = _mean_at_first(dim) if fuse == "concat" else None
        self.dims = {"two_stream": dim, "two_stream/whole": dim, "two_stream/crop": dim}

    def forward(self, maps: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        """Maps [B, C, h, w] and, in maps["crops"], those of the crops -> the three embeddings [B,
        D].
        """
        crops = maps.get("crops")
        if crops is None:
            whole = crop = self.of(maps)[self.name]
        else:
            # one batch of both, so that BatchNorm sees both in training as in evaluation
            both = {
                name: torch.cat([one, crops.get(name, one)])
                for name, one in maps.items()
                if name != "crops"
            }
            whole, crop = self.of(both)[self.name].chunk(2)
        fused = (
            (whole + crop) / 2 if self.fuse is None else self.fuse(torch.cat([whole, crop], dim=1))
        )
        return {"two_stream": fused, "two_stream/whole": whole, "two_stream/crop": crop}


def _mean_at_first(dim: int) -> nn.Linear:
    layer = nn.Linear(2 * dim, dim)
    with torch.no_grad():
        layer.weight.copy_(torch.eye(dim).repeat(1, 2) / 2)
        layer.bias.zero_()
    return layer
