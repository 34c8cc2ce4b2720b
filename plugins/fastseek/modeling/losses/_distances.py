"""How student and teacher differ, each a scalar of the rows of a batch both have."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F

Difference = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def cosine(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """The mean of 1 - cosine of every row [N, D] and its teacher's [N, D]."""
    return (1 - F.cosine_similarity(student, teacher)).mean()


def similarity(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """The mean square difference of the cosines of all pairs, [N, D] and [N, E]."""
    return F.mse_loss(_cosines(student), _cosines(teacher))


def distance(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """RKD-D: Huber's loss of the distances of all pairs, each side in units of its own mean."""
    return F.smooth_l1_loss(_in_units_of_mean(student), _in_units_of_mean(teacher))


def angle(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """RKD-A: Huber's loss of the cosine of the angle at j of every triple (i, j, k)."""
    return F.smooth_l1_loss(_angles(student), _angles(teacher))


def rkd(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """RKD-DA: distances, and angles twice as much."""
    return distance(student, teacher) + 2 * angle(student, teacher)


DIFFERENCES: Mapping[str, Difference] = {
    "cosine": cosine,
    "similarity": similarity,
    "distance": distance,
    "angle": angle,
    "rkd": rkd,
}


def _cosines(rows: torch.Tensor) -> torch.Tensor:
    unit = F.normalize(rows)
    return F.linear(unit, unit)


def _in_units_of_mean(rows: torch.Tensor) -> torch.Tensor:
    """The distances [N, N] of all pairs, by the mean over those of two different rows."""
    found = torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist")
    pairs = max(1, len(rows) * (len(rows) - 1))
    return found / (found.sum() / pairs).clamp(min=1e-12)


def _angles(rows: torch.Tensor) -> torch.Tensor:
    """[N, N, N]: at the row j, between the rows i and k."""
    between = F.normalize(rows.unsqueeze(0) - rows.unsqueeze(1), dim=2)
    return between @ between.transpose(1, 2)
