"""Instance normalisation beside batch normalisation, IBN-a."""

from __future__ import annotations

from typing import Any

import torch
from timm.models.densenet import DenseLayer
from torch import nn

from ...registry import BLOCKS
from ._insertion import modules

FAMILIES = ("resnet", "densenet", "auto")
STAGES = ("s1", "s2", "s3")


@BLOCKS.register()
class Ibn:
    """Some first normalisations become part instance, part batch normalisation (Pan et al.,
    IBN-Net, 2018).

    Which part comes first differs by family, and weights of one order are noise to the other: a
    ResNet normalizes the FIRST half of the channels by instance, in the first norm of every block
    of its first three stages; a DenseNet the LAST 40 %, in the first norm of every third layer of
    its first three blocks. The channels that stay with batch norm keep weights and statistics, the
    others weight and bias.

    Args:
        family: the order and share of the channels: "resnet", "densenet", or "auto", which looks at
            the network. "densenet" in a ResNet is what DIGIX's second place did.

    Raises:
        ValueError: an unknown family.

    Source: Pan et al., Two at Once: Enhancing Learning and Generalization Capacities via IBN-Net,
        ECCV 2018 (arXiv 1807.09441)
    Example: ibn(family='resnet')
    """

    def __init__(self, family: str = "auto") -> None:
        if family not in FAMILIES:
            raise ValueError(f"family must be one of {', '.join(FAMILIES)}, got {family!r}")
        self.family = family

    def __call__(self, backbone: Any) -> Any:
        """The same backbone, with its norms changed.

        Raises:
            ValueError: the network is neither like a ResNet nor a DenseNet.
        """
        places = [place for stage in STAGES for place in _places(backbone, stage)]
        if not places:
            raise ValueError(
                "ibn goes into networks like a ResNet or a DenseNet, and the blocks of this "
                f"{type(backbone.net).__name__} are of neither kind"
            )
        for block, name in places:
            dense = (
                isinstance(block, DenseLayer)
                if self.family == "auto"
                else self.family == "densenet"
            )
            setattr(block, name, SplitNorm(getattr(block, name), dense))
        return backbone


class SplitNorm(nn.Module):
    """Batch norm on some channels, instance norm on the others, and what followed the norm.

    Args:
        norm: whose weights and statistics are taken over.
        dense: batch norm on the first 60 % of the channels, as in a DenseNet, not on the last half,
            as in a ResNet.
    """

    def __init__(self, norm: nn.BatchNorm2d, dense: bool) -> None:
        super().__init__()
        width = norm.num_features
        self.dense, self.first = dense, int(width * 0.6) if dense else width // 2
        cut, rest = slice(0, self.first), slice(self.first, width)
        batch, instance = (cut, rest) if dense else (rest, cut)
        self.batch = nn.BatchNorm2d(len(range(width)[batch]), norm.eps, norm.momentum)
        self.instance = nn.InstanceNorm2d(len(range(width)[instance]), affine=True)
        self.act = getattr(norm, "act", nn.Identity())
        with torch.no_grad():
            for key, value in norm.state_dict().items():
                if value.ndim:
                    getattr(self.batch, key).copy_(value[batch])
            self.instance.weight.copy_(norm.weight[instance])
            self.instance.bias.copy_(norm.bias[instance])

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """[B, C, h, w] -> [B, C, h, w]."""
        norms = (self.batch, self.instance) if self.dense else (self.instance, self.batch)
        parts = (maps[:, : self.first].contiguous(), maps[:, self.first :].contiguous())
        return self.act(
            torch.cat([norm(part) for norm, part in zip(norms, parts, strict=True)], dim=1)
        )


def _places(backbone: Any, stage: str) -> list[tuple[nn.Module, str]]:
    """Blocks of a stage and the name of their first norm."""
    blocks = modules(backbone, stage)
    dense = [block for block in blocks if isinstance(block, DenseLayer)]
    if dense:
        return [(block, "norm1") for block in dense[::3]]
    return [
        (block, "bn1")
        for block in blocks
        if hasattr(block, "conv1")
        and isinstance(getattr(block, "bn1", None), nn.BatchNorm2d)
        and hasattr(block, "downsample")
    ]
