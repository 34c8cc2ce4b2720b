"""A deepest map of twice the height and width."""

from __future__ import annotations

from typing import Any

from timm.layers import BlurPool2d
from torch import nn

from ...registry import BLOCKS
from ._insertion import modules, shapes, stage_modules

DEEPEST = "s4"
POOLS = (nn.AvgPool2d, nn.MaxPool2d)


@BLOCKS.register()
class LastStride:
    """The last stage keeps the size of its input instead of halving it; no weight changes.

    The strides of the stage's first block become 1, in the branch and in the shortcut (Luo et al.,
    Bag of Tricks, 2019). Pooling of 2x2 in its way is left out. Written for ResNet-like networks,
    DenseNets, RegNets, EfficientNets and MobileNets; another network is refused when its map does
    not become twice as large.

    Args:
        stride: 1, or 2, which leaves the network as it is.

    Raises:
        ValueError: another stride.

    Source: Luo et al., Bag of Tricks and a Strong Baseline for Deep Person Re-identification, CVPRW
        2019 (arXiv 1903.07071)
    Example: last_stride(stride=1)
    """

    def __init__(self, stride: int = 1) -> None:
        if stride not in (1, 2):
            raise ValueError(f"stride must be 1 or 2, got {stride}")
        self.stride = stride

    def __call__(self, backbone: Any) -> Any:
        """The same backbone; `feature_info` tells the new reduction.

        Raises:
            ValueError: the backbone is no such network, or has no stage s4; for fast-reid's own
                backbones MODEL.BACKBONE.LAST_STRIDE does this.
        """
        if self.stride == 2:
            return backbone
        deepest = stage_modules(backbone, DEEPEST)[-1]
        (before,) = shapes(backbone, [deepest])
        for module in modules(backbone, DEEPEST):
            _keep_size(module)
        (after,) = shapes(backbone, [deepest])
        if after[1:] != tuple(2 * length for length in before[1:]):
            raise ValueError(
                f"last_stride does not fit this network: its deepest map of {before[1:]} became "
                f"{after[1:]}, which is not twice as large"
            )
        backbone.net.feature_info.info[-1]["reduction"] //= 2
        return backbone


def _keep_size(module: nn.Module) -> None:
    """Take the stride from a module and leave out pooling right below it."""
    for name, child in list(module.named_children()):
        if isinstance(child, POOLS) and _pair(child.kernel_size) == (2, 2):
            setattr(module, name, nn.Identity())
    if isinstance(module, (nn.Conv2d, *POOLS, BlurPool2d)) and _pair(module.stride) == (2, 2):
        module.stride = (1, 1) if isinstance(module.stride, tuple) else 1


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else tuple(value)
