"""Vision transformers of timm, with all they know: patch tokens, class token, registers, own
pooling.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from ...errors import UsageError
from ...registry import BACKBONES
from ._weights import check_name, create, load_weights, local_weights

PATCHES, CLASS, REGISTERS, POOLED = "s4", "cls", "registers", "pooled"
Options = Mapping[str, Any] | Sequence[tuple[str, Any]]


@BACKBONES.register()
class Vit(nn.Module):
    """A vision transformer of timm (DINOv2, DINOv3, SigLIP, CLIP, PE, EVA, DeiT …) as maps.

    "s4" are the patch tokens behind the final norm; "cls" the class token and "registers" the
    register tokens behind it, where the network has them; "pooled" what the network makes of them
    itself, such as the attention pool of SigLIP; "b5" the patch tokens of block 5 behind the final
    norm, for every block in `blocks`. Images of any size are taken that the patches divide;
    position embeddings are resized.

    Args:
        name: timm's name, with its tag if wanted ("vit_small_patch14_dinov2.lvd142m").
        blocks: numbers of further blocks whose tokens are wanted, from 0.
        pooled: gives "pooled"; without it the network's own pooling is left out, since a parameter
            without a gradient would stop distributed training.
        drop_path: rate of stochastic depth.
        pretrained: loads timm's weights (needs its hub, or its cache), unless `weights` is found.
        weights: a local state dict (.pth or .safetensors), see `weights.load_weights`.
        kwargs: further arguments of `timm.create_model`, a dict.

    Raises:
        ValueError: unknown net, no vision transformer, or it has no such block.
        DataError: the weights cannot be had.
        ArtefactError: the weights do not fit the net; lists the differences.

    Source: Dosovitskiy et al., An Image is Worth 16x16 Words, ICLR 2021 (arXiv 2010.11929);
        Darcet et al., Vision Transformers Need Registers, ICLR 2024 (arXiv 2309.16588)
    Example: vit(name='vit_small_patch14_reg4_dinov2.lvd142m', pretrained=True)
    """

    def __init__(
        self,
        name: str,
        blocks: Sequence[int] = (),
        pooled: bool = False,
        drop_path: float = 0.0,
        pretrained: bool = False,
        weights: str = "",
        kwargs: Options = (),
    ) -> None:
        super().__init__()
        file = local_weights(weights, pretrained)
        options = dict(kwargs) | ({"drop_path_rate": drop_path} if drop_path else {})
        self.net = _create(name, pretrained and not file, options)
        self.name = name
        self.blocks = _check_blocks(self.net, name, blocks)
        self.patch = _patch_size(self.net)
        self.pooled = pooled
        if file:
            load_weights(self.net, name, file, {**options, "dynamic_img_size": True})
        if not pooled:
            _leave_out_pooling(self.net)
        self.channels = _count_channels(self.net, self.blocks, pooled)

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """Normalized [B, 3, H, W] -> {"s4": [B, C, h, w], "cls": [B, C, 1, 1], "registers": [B, C,
        R, 1], "pooled": [B, D, 1, 1], "b5": [B, C, h, w]}, of these what there is.

        Raises:
            UsageError: the patches do not divide the image.
        """
        height, width = images.shape[2:]
        if height % self.patch[0] or width % self.patch[1]:
            raise UsageError(
                f"{self.name} takes images whose sides are multiples of {self.patch[0]} and"
                f" {self.patch[1]}, these are {height} x {width}: resize them"
            )
        tokens, between = self._run(images)
        first = self.net.num_prefix_tokens
        grid = (height // self.patch[0], width // self.patch[1])
        maps = {PATCHES: _as_map(tokens[:, first:], grid)}
        has_class = CLASS in self.channels
        if has_class:
            maps[CLASS] = _as_map(tokens[:, :1], (1, 1))
        if REGISTERS in self.channels:
            maps[REGISTERS] = _as_map(tokens[:, int(has_class) : first], (first - has_class, 1))
        if self.pooled:
            maps[POOLED] = self.net.forward_head(tokens, pre_logits=True)[:, :, None, None]
        return maps | dict(zip((f"b{number}" for number in self.blocks), between, strict=True))

    def _run(self, images: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """The tokens behind the final norm, and the maps of further blocks."""
        if not self.blocks:
            return self.net.forward_features(images), []
        tokens, between = self.net.forward_intermediates(images, indices=self.blocks, norm=True)
        return tokens, between

    @staticmethod
    def maps_of(**arguments: Any) -> Sequence[str]:
        """The names of the maps by the recipe's arguments, without memory for the network.

        Raises:
            ValueError: timm knows no such network, or it has no such block.
        """
        with torch.device("meta"):
            net = _create(arguments["name"], False, dict(arguments["kwargs"]))
        blocks = _check_blocks(net, arguments["name"], arguments["blocks"])
        return list(_count_channels(net, blocks, arguments["pooled"]))


def _create(name: str, pretrained: bool, options: Mapping[str, Any]) -> Any:
    """The network without its classifier.

    Raises:
        ValueError: timm knows none of that name, or it is no vision transformer.
    """
    check_name(name)
    given = {"num_classes": 0, "dynamic_img_size": True, **options}
    try:
        net = create(name, pretrained, f"tokens of {name}", "weights", **given)
    except ValueError as error:
        if "dynamic_img_size" not in str(error):
            raise
        net = None
    if not hasattr(net, "num_prefix_tokens") or not hasattr(net, "forward_intermediates"):
        raise ValueError(f"{name} is no vision transformer: take timm(name={name!r})")
    return net


def _check_blocks(net: Any, name: str, blocks: Sequence[int]) -> list[int]:
    count = len(net.blocks)
    wanted = sorted(set(blocks))
    if any(not isinstance(one, int) or not 0 <= one < count for one in wanted):
        raise ValueError(f"{name} has blocks 0 to {count - 1}, got {list(blocks)}")
    return wanted


def _patch_size(net: Any) -> tuple[int, int]:
    height, width = net.patch_embed.patch_size
    return height, width


def _leave_out_pooling(net: Any) -> None:
    """Drop an attention pool and a norm behind the pooling."""
    if getattr(net, "attn_pool", None) is not None:
        net.attn_pool = None
    if isinstance(getattr(net, "fc_norm", None), nn.Module):
        net.fc_norm = nn.Identity()


def _count_channels(net: Any, blocks: Sequence[int], pooled: bool) -> dict[str, int]:
    width: int = net.embed_dim
    names = [PATCHES]
    has_class = getattr(net, "cls_token", None) is not None
    if has_class:
        names.append(CLASS)
    if net.num_prefix_tokens > int(has_class):
        names.append(REGISTERS)
    found = dict.fromkeys(names, width)
    if pooled:
        found[POOLED] = net.head_hidden_size
    return found | dict.fromkeys((f"b{number}" for number in blocks), width)


def _as_map(tokens: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
    """Tokens [B, N, C] as a map [B, C, h, w]."""
    return tokens.transpose(1, 2).reshape(len(tokens), -1, *grid)
