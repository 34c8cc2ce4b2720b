"""A timm network's vectors and local features of the same pass."""

from __future__ import annotations

import dataclasses
import math
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from ...errors import UsageError
from .embedding_net import EmbeddingNet


class Seen(NamedTuple):
    """What a network says of a batch of images.

    Args:
        vectors: [B, D] float32 of length 1.
        features: [B, P, C] float32, a local feature a place, of any length.
        places: [P, 2] float32, the middle of each place: x and y, 0 to 1.
    """

    vectors: np.ndarray
    features: np.ndarray
    places: np.ndarray


@dataclasses.dataclass(frozen=True)
class LocalNetwork:
    """Runs a network by plain torch.

    Args:
        module: the network and its pooling.
        device: where it lies.
    """

    module: EmbeddingNet
    device: torch.device

    def __call__(self, tensors: torch.Tensor, layer: int = 1) -> Seen:
        """What the network says of images.

        Args:
            tensors: uint8 [B, 3, H, W] on the CPU.
            layer: whose features are local ones, counted from the end.

        Raises:
            UsageError: its features have no places, or it has no such layer.
        """
        with torch.inference_mode():
            seen = tensors.to(self.device, memory_format=torch.channels_last)
            vectors, features = self.module.read_places(seen, layer)
        rows, columns = find_grid(self.module.net, tuple(features.shape[2:]))
        flat = features.flatten(2).transpose(1, 2)
        return Seen(vectors.cpu().numpy(), flat.cpu().numpy(), place_grid(rows, columns))


def find_grid(net: nn.Module, shape: tuple[int, ...]) -> tuple[int, int]:
    """Rows and columns of the places of a map [h, w], or of tokens [P, 1] that stand in rows.

    Raises:
        UsageError: it cannot be told how the tokens lie.
    """
    if shape[1] != 1:
        return shape[0], shape[1]
    grid = getattr(getattr(net, "patch_embed", None), "grid_size", None)
    side = math.isqrt(shape[0])
    for rows, columns in [tuple(grid or (0, 0)), (side, side)]:
        if rows * columns == shape[0]:
            return rows, columns
    raise UsageError(
        f"{type(net).__name__} gives {shape[0]} tokens, and does not tell how they lie: take"
        " another network, or leave out --locals"
    )


def place_grid(rows: int, columns: int) -> np.ndarray:
    """The middles [rows * columns, 2] of a grid's cells, row by row."""
    x, y = (np.arange(columns) + 0.5) / columns, (np.arange(rows) + 0.5) / rows
    across, down = np.meshgrid(x, y)
    return np.stack([across, down], axis=-1).reshape(-1, 2).astype(np.float32)
