"""The rows of all processes, for losses that keep a memory."""

from __future__ import annotations

import torch
import torch.distributed as dist


@torch.no_grad()
def gather_with_gradient(
    embedding: torch.Tensor, targets: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The embeddings and targets of all processes, by rank, equal in every process; without
    gradient.

    In one process they are what was given. All processes must hold equally many rows, as the
    samplers see to.

    Args:
        embedding: [B, D].
        targets: int64 [B].

    Returns:
        [processes * B, D] and int64 [processes * B].
    """
    embedding, targets = embedding.detach(), targets.detach()
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return embedding, targets
    return _all(embedding), _all(targets)


def _all(tensor: torch.Tensor) -> torch.Tensor:
    rows = [
        torch.empty_like(tensor, memory_format=torch.contiguous_format)
        for _ in range(dist.get_world_size())
    ]
    dist.all_gather(rows, tensor.contiguous())
    return torch.cat(rows)
