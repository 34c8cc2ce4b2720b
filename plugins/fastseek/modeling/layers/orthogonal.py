"""The part of local features that the global feature does not already tell."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from .precision import at_least_float, full_precision

FUSIONS = ("squared", "legacy_single_norm")


def orthogonal(local: torch.Tensor, whole: torch.Tensor, fusion: str = "squared") -> torch.Tensor:
    """Subtract from every local feature its projection on the global one.

    The result is linear in `local`, so that pooling before or after gives the same.
    Yang et al., DOLG: Single-Stage Image Retrieval with Deep Orthogonal Fusion, 2021.

    Args:
        local: [B, C, ...], such as [B, C, h, w], or [B, C] already pooled.
        whole: [B, C], the global feature; where it is zero `local` stays as it is.
        fusion: "squared" is the projection, local.whole / |whole|^2 * whole. "legacy_single_norm"
            divides by the norm once, as the 2021 Google Landmark winners' published code does; the
            rest is then not orthogonal.

    Returns:
        float32 of the shape of `local`.

    Raises:
        ValueError: unknown fusion.
    """
    if fusion not in FUSIONS:
        raise ValueError(f"fusion must be one of {', '.join(FUSIONS)}, got {fusion!r}")
    with full_precision(local):
        local, whole = at_least_float(local), at_least_float(whole)
        whole = whole.reshape(*whole.shape, *[1] * (local.dim() - whole.dim()))
        unit = F.normalize(whole, dim=1)
        along = (local * unit).sum(dim=1, keepdim=True)
        return local - along * (unit if fusion == "squared" else whole)
