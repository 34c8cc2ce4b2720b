"""When a loss may write down what it sees, and what a batch says about its classes."""

from __future__ import annotations

import torch
from torch import nn


def is_training_step(loss: nn.Module) -> bool:
    """Whether this forward is a training step: neither an evaluation nor fast-reid's pass for exact
    BN statistics.
    """
    return loss.training and torch.is_grad_enabled()


def class_sums(rows: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """For every row the sum over its class in the batch, and how many rows that class has.

    A product of matrices and no scatter: on every device it gives the same digits again, in every
    process.

    Args:
        rows: [B, D].
        labels: int64 [B].

    Returns:
        [B, D] and [B, 1], of the same dtype.
    """
    same = (labels.unsqueeze(0) == labels.unsqueeze(1)).to(rows.dtype)
    return same @ rows, same.sum(dim=1, keepdim=True)
