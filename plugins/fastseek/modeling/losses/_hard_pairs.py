"""The hardest positive and negative of every anchor, and what they cost."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def hardest_pairs(
    anchors: torch.Tensor,
    targets: torch.Tensor,
    others: torch.Tensor,
    other_targets: torch.Tensor,
    valid: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The row of the farthest of the same class and of the nearest of another class.

    Args:
        anchors: [B, D] without gradient.
        targets: int64 [B].
        others: [M, D] without gradient, where both are looked for.
        other_targets: int64 [M].
        valid: bool [M], rows of `others` that count; None takes all.

    Returns:
        int64 [B], int64 [B], and bool [B]: whether there are both.
    """
    # Distances do not change with the origin, and near it cdist loses the fewest digits.
    middle = anchors.mean(dim=0)
    distance = torch.cdist(anchors - middle, others - middle)
    same = targets.unsqueeze(1) == other_targets.unsqueeze(0)
    valid = torch.ones_like(same[:1]) if valid is None else valid.unsqueeze(0)
    positive, negative = same & valid, ~same & valid
    farthest = distance.masked_fill(~positive, -1).argmax(dim=1)
    nearest = distance.masked_fill(~negative, torch.inf).argmin(dim=1)
    return farthest, nearest, positive.any(dim=1) & negative.any(dim=1)


def triplet_cost(
    anchors: torch.Tensor, positives: torch.Tensor, negatives: torch.Tensor, margin: float | None
) -> torch.Tensor:
    """[d_p - d_n + margin]_+ of every row, or softplus(d_p - d_n) without a margin.

    Distances are sqrt(clamp(d^2, 1e-12)), taken from the difference itself: near pairs keep their
    precision.

    Args:
        anchors: [B, D].
        positives: [B, D].
        negatives: [B, D].
        margin: of the hinge, or None.

    Returns:
        [B].
    """
    gap = _distance(anchors, positives) - _distance(anchors, negatives)
    return F.softplus(gap) if margin is None else F.relu(gap + margin)


def check_margin(margin: float | None) -> float | None:
    """The margin as it is.

    Raises:
        ValueError: it is negative.
    """
    if margin is not None and margin < 0:
        raise ValueError(f"margin must not be negative, got {margin}")
    return margin


def _distance(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    return (left - right).square().sum(dim=1).clamp(min=1e-12).sqrt()
