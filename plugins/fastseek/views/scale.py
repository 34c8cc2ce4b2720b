"""The same images at several sizes."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from ..errors import UsageError
from ..registry import VIEWS


@VIEWS.register()
class Scale:
    """The images as given, then bilinearly resized by every factor (1 is the given one and is not
    repeated).

    DOLG's evaluation is `scale(0.3535, 0.5, 0.7071, 1.0, 1.4142)`.

    Args:
        factors: of height and width.
        antialias: smooth before shrinking; the published evaluations do not.
        pool: how the embeddings of all views become one: "mean", or "max" of every dimension, as
            SuperGlobal's `scale(0.7071, 1.0, 1.4142, pool='max')`.
        stride: refuse sizes that are no multiple of it, as a network of that stride would lose
            pixels; 0 takes any.

    Raises:
        ValueError: no factor, one that is not positive, or an unknown pooling.
        UsageError: when called, if a size is no multiple of `stride`; names the nearest factors.

    Source: Radenovic, Tolias and Chum, Fine-tuning CNN Image Retrieval with No Human Annotation,
        PAMI 2019 (arXiv 1711.02512)
    Example: scale(0.7071, 1.0, 1.4142)
    """

    def __init__(
        self, *factors: float, antialias: bool = False, pool: str = "mean", stride: int = 0
    ) -> None:
        if not factors or any(not factor > 0 for factor in factors):
            raise ValueError(f"scale needs positive factors, got {factors}")
        self.factors = tuple(factor for factor in factors if factor != 1)
        if pool not in ("mean", "max"):
            raise ValueError(f"pool must be 'mean' or 'max', got {pool!r}")
        self.antialias, self.pool, self.stride = antialias, pool, stride

    def __call__(self, images: torch.Tensor) -> list[torch.Tensor]:
        """[B, 3, H, W] -> the given batch, and one [B, 3, round(f H), round(f W)] a factor, at
        least one pixel.
        """
        return [images] + [self._resize(images, factor) for factor in self.factors]

    def _resize(self, images: torch.Tensor, factor: float) -> torch.Tensor:
        size = [max(1, round(side * factor)) for side in images.shape[2:]]
        if self.stride and any(side % self.stride for side in size):
            side = min(images.shape[2:])
            steps = max(1, int(side * factor) // self.stride)
            raise UsageError(
                f"scale({factor}) makes {size[0]} x {size[1]} of {images.shape[2]} x"
                f" {images.shape[3]}, no multiple of the stride {self.stride}: take"
                f" {steps * self.stride / side:.5g} or {(steps + 1) * self.stride / side:.5g}"
            )
        return F.interpolate(
            images, size, mode="bilinear", align_corners=False, antialias=self.antialias
        )
