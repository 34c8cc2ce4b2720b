"""InfoNCE, with other settings the N-pair loss."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F

from ...registry import LOSSES
from ._legal import check_positive
from ._pairs import PairLoss, Pairs, log_one_plus_exp, log_sum_exp, mean_over_all


@LOSSES.register()
class InfoNce(PairLoss):
    """Every pair of one class against all rows of other classes, by a softmax over similarities.

    An anchor i and a row p of its class cost log(1 + sum over n of exp((s_in - s_ip) / temperature)),
    n over the rows of other classes: further rows of the own class stand in no sum. The mean runs
    over the pairs of one class of all processes. `temperature=1, normalize=False` is the N-pair
    loss, without its term that keeps embeddings short.

    Args:
        on: name of the embedding.
        temperature: what the similarities are divided by.
        normalize: whether they are cosines, or products of the embeddings as they are.
        weight: factor of the loss.
        dims: embedding name -> D.

    Raises:
        ValueError: unknown embedding, or a temperature that is not positive.

    Source: van den Oord et al., Representation Learning with Contrastive Predictive Coding, 2018
        (arXiv 1807.03748), equation 4; Sohn, Improved Deep Metric Learning with Multi-class N-pair
        Loss Objective, NeurIPS 2016
    Example: info_nce(on='gem', temperature=0.07)
    """

    def __init__(
        self,
        on: str,
        temperature: float = 0.07,
        normalize: bool = True,
        weight: float = 1.0,
        *,
        dims: Mapping[str, int],
    ) -> None:
        super().__init__(on, weight, dims)
        check_positive(temperature=temperature)
        self.temperature = temperature
        self.normalize = normalize

    def prepare(self, vectors: torch.Tensor) -> torch.Tensor:
        """[B, D], of length 1 where that is wanted."""
        return F.normalize(vectors) if self.normalize else vectors

    def cost(self, pairs: Pairs) -> torch.Tensor:
        """A scalar."""
        logits = pairs.similarity / self.temperature
        others = log_sum_exp(logits, pairs.other).unsqueeze(1)
        return mean_over_all(log_one_plus_exp(others - logits), pairs.same)
