"""A timm network as one function: pixels to pooled vectors of unit length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, cast

import torch
import torch.nn.functional as F
from timm.layers import LayerNorm2d, LayerNorm2dFp32
from torch import nn

from ...errors import UsageError
from ...modeling.layers.gem import Gem

AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


class TimmNet(Protocol):
    """What every network of timm has."""

    def forward_features(self, images: torch.Tensor) -> torch.Tensor:
        """Normalized images to tokens [B, N, C] or maps, behind the final norm."""

    def forward_intermediates(
        self, images: torch.Tensor, indices: list[int]
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """What `forward_features` gives, and the maps [B, C, h, w] of some layers."""

    def forward_head(self, features: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        """Features pooled to [B, C]."""


class EmbeddingNet(nn.Module):
    """Pixels [B, 3, H, W] of 0..255 to float32 [B, D] of unit length.

    Only the network itself runs in the precision asked for; mean and deviation, pooling and length
    are computed in float32.

    Args:
        net: of timm, without a classifier.
        pooling: "cls", "mean", "gem" or "head".
        mean, std: of pixels of 0..1.
        precision: "float32", "bf16" or "fp16".

    Raises:
        UsageError: "cls" of a network that has no class token.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(
        self,
        net: nn.Module,
        pooling: str,
        mean: Sequence[float],
        std: Sequence[float],
        precision: str = "float32",
    ) -> None:
        super().__init__()
        if pooling == "cls" and not _has_class_token(net):
            raise UsageError(
                f"{type(net).__name__} has no class token: take pooling mean, gem or head"
            )
        self.net, self.pooling, self.precision = net, pooling, precision
        self.gem = Gem(3.0, trainable=False)
        for name, values in (("mean", mean), ("std", std)):
            column = 255 * torch.tensor(values, dtype=torch.float32).reshape(1, -1, 1, 1)
            self.register_buffer(name, column, persistent=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """uint8 or float, RGB."""
        return F.normalize(self.pool(self._see(images)).flatten(1))

    def read_places(
        self, images: torch.Tensor, layer: int = 1
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What `forward` gives, and the features of the places, float32 [B, C, h, w].

        Args:
            images: as of `forward`.
            layer: counted from the end: 1 is the last, behind the last norm, whose tokens come as
                [B, C, P, 1]; any other as the network's blocks leave it.

        Raises:
            UsageError: the features have no places, or there is no such layer.
        """
        if layer > 1:
            features, places = self._see_layer(images, layer)
            return F.normalize(self.pool(features).flatten(1)), places
        features = self._see(images)
        places = _places(self.net, features)
        flat = places.flatten(2).transpose(1, 2)
        normed = _last_norm(self.net, flat.flatten(0, 1)).reshape(*flat.shape[:2], -1)
        local = normed.transpose(1, 2).reshape(len(places), -1, *places.shape[2:])
        return F.normalize(self.pool(features).flatten(1)), local

    def _see(self, images: torch.Tensor) -> torch.Tensor:
        """What the network says of images, float32."""
        features = self._features((images.float() - self.mean) / self.std)
        if not isinstance(features, torch.Tensor):
            raise UsageError(
                f"{type(self.net).__name__} gives several features at once: take another network"
            )
        return features.float()

    def _see_layer(self, images: torch.Tensor, layer: int) -> tuple[torch.Tensor, torch.Tensor]:
        """What the network says of images, and the map [B, C, h, w] of one of its layers."""
        seen = (images.float() - self.mean) / self.std
        lower = self.precision in AUTOCAST
        dtype = AUTOCAST.get(self.precision)
        try:
            with torch.autocast(seen.device.type, dtype=dtype, enabled=lower):
                features, (places,) = cast(TimmNet, self.net).forward_intermediates(
                    seen, indices=[-layer]
                )
        except (AttributeError, AssertionError, IndexError) as error:
            raise UsageError(
                f"{type(self.net).__name__} has no layer {layer} from its end ({error}): take a"
                " smaller number"
            ) from error
        return features.float(), places.float()

    def _features(self, seen: torch.Tensor) -> object:
        features = cast(TimmNet, self.net).forward_features
        if self.precision not in AUTOCAST:
            return features(seen)
        with torch.autocast(seen.device.type, dtype=AUTOCAST[self.precision]):
            return features(seen)

    def pool(self, features: torch.Tensor) -> torch.Tensor:
        """Features as the network gives them, [B, N, C] or maps, to [B, D].

        Raises:
            UsageError: they have another shape.
        """
        if self.pooling == "head":
            return cast(TimmNet, self.net).forward_head(features, pre_logits=True)
        if self.pooling == "cls":
            return _last_norm(self.net, features[:, 0])
        places = _places(self.net, features)
        pooled = self.gem(places) if self.pooling == "gem" else places.flatten(2).mean(dim=2)
        return _last_norm(self.net, pooled)


def _has_class_token(net: nn.Module) -> bool:
    return getattr(net, "cls_token", None) is not None


def _places(net: nn.Module, features: torch.Tensor) -> torch.Tensor:
    """Features of places alone, as maps [B, C, h, w]; class and register tokens are none."""
    if features.ndim == 4:
        last = getattr(net, "output_fmt", "NCHW") == "NHWC"
        return features.permute(0, 3, 1, 2) if last else features
    if features.ndim != 3:
        raise UsageError(
            f"{type(net).__name__} gives features {tuple(features.shape)}, which are neither tokens"
            " nor maps: take pooling head"
        )
    prefix = getattr(net, "num_prefix_tokens", int(_has_class_token(net)))
    if features.shape[1] <= prefix:
        raise UsageError(
            f"{type(net).__name__} gives a class token alone: take pooling cls or head"
        )
    return features[:, prefix:].transpose(1, 2).unsqueeze(3)


def _last_norm(net: nn.Module, pooled: torch.Tensor) -> torch.Tensor:
    """Pooled features [B, C] behind the norm that some networks have only after their pooling."""
    norm = getattr(net, "fc_norm", None)
    if norm is None:
        norm = getattr(getattr(net, "head", None), "norm", None)
    if not isinstance(norm, nn.Module):
        return pooled
    flat = isinstance(norm, nn.LayerNorm) and not isinstance(norm, (LayerNorm2d, LayerNorm2dFp32))
    made: torch.Tensor = norm(pooled) if flat else norm(pooled[:, :, None, None]).flatten(1)
    return made
