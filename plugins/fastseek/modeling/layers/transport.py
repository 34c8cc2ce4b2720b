"""Soft assignment by optimal transport, in the log domain."""

from __future__ import annotations

import math

import torch

from .precision import at_least_float, full_precision


def transport_with_dustbin(
    scores: torch.Tensor, dustbin: torch.Tensor, iterations: int
) -> torch.Tensor:
    """Share every position out over clusters and a dustbin so that all clusters get equal mass.

    Positions have the mass 1 each, clusters take 1 each and the dustbin the rest, N - K. Sinkhorn's
    algorithm scales rows and columns in turn.

    Args:
        scores: [B, K, N], how well position n fits cluster k.
        dustbin: a scalar, the score of every position for the dustbin.
        iterations: how often rows and columns are scaled; the columns are scaled last.

    Returns:
        float32 [B, K + 1, N], the dustbin last; every column sums to 1.

    Raises:
        ValueError: N is not larger than K: nothing would be left for the dustbin.

    Source: Sarlin et al., SuperGlue, CVPR 2020 (arXiv 1911.11763), section 3.2; Cuturi, Sinkhorn
        Distances, NeurIPS 2013
    """
    batch, clusters, positions = scores.shape
    if positions <= clusters:
        raise ValueError(
            f"{positions} positions for {clusters} clusters: give larger images or fewer clusters"
        )
    with full_precision(scores):
        rest = at_least_float(dustbin).expand(batch, 1, positions)
        logits = torch.cat([at_least_float(scores), rest], dim=1)
        wanted = logits.new_zeros(clusters + 1, 1)
        wanted[-1] = math.log(positions - clusters)
        columns = logits.new_zeros(batch, 1, positions)
        for _ in range(iterations):
            rows = wanted - torch.logsumexp(logits + columns, dim=2, keepdim=True)
            columns = -torch.logsumexp(logits + rows, dim=1, keepdim=True)
        return torch.exp(logits + rows + columns)
