"""Contrastive loss over the pairs of a batch."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F

from ...registry import LOSSES
from ._legal import check_positive
from ._pairs import PairLoss, Pairs, mean_over_all


@LOSSES.register()
class Contrastive(PairLoss):
    """Pairs of one class are drawn together, pairs of two classes pushed apart up to a margin.

    With the Euclidean distance d a pair of one class costs d^2 / 2, another [margin - d]_+^2 / 2.
    The mean over the pairs of one class and the mean over the others are added, so that the many
    others do not drown the few. The rows of all processes are one batch.

    Args:
        on: name of the embedding.
        margin: distance from which a pair of two classes costs nothing.
        normalize: whether the embeddings are brought to length 1 first.
        weight: factor of the loss.
        dims: embedding name -> D.

    Raises:
        ValueError: unknown embedding, or a margin that is not positive.

    Source: Hadsell et al., Dimensionality Reduction by Learning an Invariant Mapping, CVPR 2006,
        equation 4
    Example: contrastive(on='gem', margin=0.7)
    """

    def __init__(
        self,
        on: str,
        margin: float = 0.7,
        normalize: bool = True,
        weight: float = 1.0,
        *,
        dims: Mapping[str, int],
    ) -> None:
        super().__init__(on, weight, dims)
        check_positive(margin=margin)
        self.margin = margin
        self.normalize = normalize

    def prepare(self, vectors: torch.Tensor) -> torch.Tensor:
        """[B, D], of length 1 where that is wanted."""
        return F.normalize(vectors) if self.normalize else vectors

    def cost(self, pairs: Pairs) -> torch.Tensor:
        """A scalar."""
        distance = pairs.distance
        near = mean_over_all(distance.square() / 2, pairs.same)
        far = mean_over_all((self.margin - distance).clamp(min=0).square() / 2, pairs.other)
        return near + far
