"""Supervised contrastive loss."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from ...registry import LOSSES
from ._legal import check_positive
from ._pairs import PairLoss, Pairs, log_sum_exp, mean_over_all


@LOSSES.register()
class Supcon(PairLoss):
    """Every row of an anchor's class against all other rows of the batch, by a softmax over cosines.

    The form with the sum over the positives outside the logarithm, L_out. The mean runs over the
    anchors of all processes that have a row of their class; others cost nothing. The paper puts two
    views of every image into a batch; here a batch holds several images of a class (sampler `pk`).

    Args:
        on: name of the embedding.
        temperature: what the cosines are divided by.
        weight: factor of the loss.
        dims: embedding name -> D.

    Raises:
        ValueError: unknown embedding, or a temperature that is not positive.

    Source: Khosla et al., Supervised Contrastive Learning, NeurIPS 2020 (arXiv 2004.11362),
        equation 2
    Example: supcon(on='gem', temperature=0.1)
    """

    def __init__(
        self,
        on: str,
        temperature: float = 0.1,
        weight: float = 1.0,
        *,
        dims: Mapping[str, int],
    ) -> None:
        super().__init__(on, weight, dims)
        check_positive(temperature=temperature)
        self.temperature = temperature

    def cost(self, pairs: Pairs) -> torch.Tensor:
        """A scalar."""
        logits = pairs.similarity / self.temperature
        surprise = log_sum_exp(logits, pairs.same | pairs.other).unsqueeze(1) - logits
        positives = pairs.same.sum(dim=1)
        mean = torch.where(pairs.same, surprise, 0).sum(dim=1) / positives.clamp(min=1)
        return mean_over_all(mean, positives > 0)
