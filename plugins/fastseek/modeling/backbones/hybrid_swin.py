"""A Swin transformer that sees the features of the first stages of an EfficientNet instead of image
patches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import timm
import torch
from timm.layers import PatchEmbed
from timm.models.swin_transformer import SwinTransformer, checkpoint_filter_fn
from torch import nn

from ...errors import UsageError
from ...registry import BACKBONES
from ..layers.virtual_token import VirtualToken
from ._weights import create, feature_info, load_weights, local_weights
from .timm import Timm

STAGES = {1: 4, 2: 8, 3: 16}  # stage of the CNN -> reduction at a stem stride of 2
Options = Mapping[str, Any] | Sequence[tuple[str, Any]]


@BACKBONES.register()
class HybridSwin(nn.Module):
    """The hybrid EfficientNet-Swin of the 2021 Google Landmark winners (arXiv 2110.03786), one
    vector as map "s4".

    A truncated CNN and a 1x1 convolution (with bias, without norm) take the place of Swin's patch
    embedding; then Swin, its last LayerNorm, and the mean over all tokens. `linear_neck(on='s4',
    pool='none')` belongs behind it.

    The article describes a position embedding and a "virtual token"; its published code has neither
    (Swin knows positions by its relative bias alone, and pools by the mean). Both are options here,
    off by default, and both start so that switching them on changes nothing at first.

    It grows without any other weight changing its name or value: `hybrid_swin(cnn='')` is Swin with
    its own patch embedding; with a CNN all of "patch_embed." is new; a deeper `cnn_stage` changes
    the shape of "patch_embed.proj.weight" and adds blocks; `stem_stride`, `pool` and `position`
    change no shape. So a checkpoint of the smaller form loads by name, leaving out what is new.

    Args:
        cnn: timm's name of the CNN; "" keeps Swin's own patch embedding.
        cnn_stage: 1, 2 or 3, whose map has reduction 4, 8 or 16; what lies behind is cut away.
        swin: timm's name of a Swin (version 1).
        stem_stride: 1 or 2, of the CNN's first convolution; 1 halves the reduction with the same
            weights.
        pool: "mean", or "virtual_token", see `layers.virtual_token`.
        position: adds a learned vector to every token before Swin.
        pretrained: loads timm's weights of both parts, where no file is found.
        cnn_weights: a local state dict of the CNN, see `weights.load_weights`.
        swin_weights: the same of Swin; also in the names of Swin's authors, and of another image
            size.
        kwargs: further arguments of `timm.create_model` for Swin, such as {"drop_path_rate": 0.2}.
        cnn_kwargs: the same for the CNN.

    Raises:
        ValueError: an unknown net, stage or choice.
        DataError: the weights cannot be had.
        ArtefactError: the weights do not fit; lists the differences.

    Source: Henkel, Efficient Large-Scale Image Retrieval with Deep Feature Orthogonality and
        Hybrid-Swin-Transformers, 2021 (arXiv 2110.03786)
    Example: hybrid_swin(cnn='tf_efficientnet_b5', swin='swin_base_patch4_window7_224')
    """

    def __init__(
        self,
        cnn: str = "tf_efficientnet_b5",
        cnn_stage: int = 2,
        swin: str = "swin_base_patch4_window7_224",
        stem_stride: int = 2,
        pool: str = "mean",
        position: bool = False,
        pretrained: bool = False,
        cnn_weights: str = "",
        swin_weights: str = "",
        kwargs: Options = (),
        cnn_kwargs: Options = (),
    ) -> None:
        super().__init__()
        if cnn and (cnn_stage not in STAGES or stem_stride not in (1, 2)):
            raise ValueError(
                f"cnn_stage must be 1, 2 or 3 and stem_stride 1 or 2, got {cnn_stage} and"
                f" {stem_stride}"
            )
        net = _swin(swin, pretrained, swin_weights, dict(kwargs))
        own = net.patch_embed
        assert isinstance(own, PatchEmbed)
        self.name = swin
        self.grid = tuple(own.grid_size)
        self.width = net.embed_dim
        self.patch_embed: CnnPatches | PatchEmbed = own
        if cnn:
            part = Timm(
                cnn,
                (cnn_stage,),
                stem_stride,
                pretrained=pretrained,
                weights=cnn_weights,
                kwargs=cnn_kwargs,
            )
            self.patch_embed = CnnPatches(part, self.width)
        self.position = nn.Parameter(torch.zeros(1, *self.grid, self.width)) if position else None
        self.layers, self.norm = net.layers, net.norm
        self.token = _pool(pool, net.num_features)
        self.channels = {"s4": net.num_features}

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """Normalised [B, 3, H, W] -> {"s4": [B, C, 1, 1]}.

        Raises:
            UsageError: images of this size do not give Swin the tokens it wants; says which sizes
                do.
        """
        self._check(*images.shape[2:])
        tokens = self.patch_embed(images)
        if self.position is not None:
            tokens = tokens + self.position
        tokens = self.norm(self.layers(tokens)).flatten(1, 2)
        pooled = tokens.mean(dim=1) if self.token is None else self.token(tokens)
        return {"s4": pooled[..., None, None]}

    @staticmethod
    def maps_of(**arguments: Any) -> Sequence[str]:
        """The name of its one map."""
        return ["s4"]

    @property
    def reduction(self) -> int:
        """Pixels of the image that one token stands for, along a side."""
        if isinstance(self.patch_embed, CnnPatches):
            return self.patch_embed.reduction
        return self.patch_embed.patch_size[0]

    def _check(self, height: int, width: int) -> None:
        wanted = tuple(side * self.reduction for side in self.grid)
        if (height, width) == wanted:
            return
        others = [
            f"cnn_stage={stage}, stem_stride={stride}"
            for stage, reduction in STAGES.items()
            for stride in (1, 2)
            if all(
                side * reduction * stride == 2 * size
                for side, size in zip(self.grid, (height, width), strict=True)
            )
        ]
        instead = f"; or, for images of this size, {' or '.join(others)}" if others else ""
        raise UsageError(
            f"images of {height} x {width} make {height / self.reduction:g} x"
            f" {width / self.reduction:g} tokens, one every {self.reduction} pixels, and"
            f" {self.name} wants {self.grid[0]} x {self.grid[1]}: give images of {wanted[0]} x"
            f" {wanted[1]}{instead}"
        )


class CnnPatches(nn.Module):
    """Tokens from one map of a CNN: [B, 3, H, W] -> [B, h, w, C].

    Args:
        cnn: a backbone of one map.
        dim: C of the tokens.
    """

    def __init__(self, cnn: Timm, dim: int) -> None:
        super().__init__()
        ((self.stage, width),) = cnn.channels.items()
        self.cnn, self.reduction = cnn, feature_info(cnn.net).reduction()[-1]
        self.proj = nn.Conv2d(width, dim, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """One token a position of the map."""
        return self.proj(self.cnn(images)[self.stage]).permute(0, 2, 3, 1)


def _swin(name: str, pretrained: bool, weights: str, options: dict[str, Any]) -> SwinTransformer:
    if not timm.is_model(name) or not name.startswith("swin_"):
        raise ValueError(
            f"swin must be timm's name of a Swin such as swin_base_patch4_window7_224, got {name!r}"
        )
    file = local_weights(weights, pretrained)
    net = create(
        name,
        pretrained and not file,
        f"{name} with {options}",
        "swin_weights",
        num_classes=0,
        **options,
    )
    assert isinstance(net, SwinTransformer)  # timm's names beginning with swin_ are
    if file:
        load_weights(net, name, file, options, checkpoint_filter_fn)
    return net


def _pool(kind: str, dim: int) -> VirtualToken | None:
    if kind not in ("mean", "virtual_token"):
        raise ValueError(f"pool must be 'mean' or 'virtual_token', got {kind!r}")
    return VirtualToken(dim) if kind == "virtual_token" else None
