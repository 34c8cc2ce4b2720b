"""ROADMAP: an upper bound of 1 - AP, and a calibration of the cosines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from ...registry import LOSSES
from ._legal import check_cosines, check_not_negative, check_positive, check_share
from ._pairs import PairLoss, Pairs, mean_over_all
from ._ranks import rank_positives


@LOSSES.register()
class Roadmap(PairLoss):
    """SupAP, an upper bound of 1 - the average precision of every row as a query, and a calibration
    that makes the APs of batches add up to that of the whole set.

    - SupAP: the rank among the positives is counted as it is, without gradient; a negative whose
      cosine exceeds that of the positive by t counts sigmoid(t / temperature) up to t = 0, half more
      up to `delta`, and from there on a line of slope `rho`, which goes on pulling.
    - calibration: the mean of [alpha - s]_+ over a query's positives and that of [s - beta]_+ over
      its negatives, added.

    `balance` weighs the calibration, 1 - balance the SupAP. The mean runs over the queries of all
    processes that have a row of their class; the query is not in what it searches.

    Args:
        on: name of the embedding.
        temperature: tau, of the sigmoid.
        rho: slope for negatives far above the positive.
        delta: where that slope begins.
        cosines: (alpha, beta): what positives should reach and negatives stay below.
        balance: lambda, from 0 (SupAP alone) to 1 (calibration alone).
        weight: factor of the loss.
        dims: embedding name -> D.

    Raises:
        ValueError: unknown embedding, or an illegal number.

    Source: Ramzi et al., Robust and Decomposable Average Precision for Image Retrieval, NeurIPS
        2021 (arXiv 2110.01445), section 3: H^-, L_SupAP, L_calibr and L_ROADMAP
    Example: roadmap(on='gem', temperature=0.01, balance=0.5)
    """

    def __init__(
        self,
        on: str,
        temperature: float = 0.01,
        rho: float = 100.0,
        delta: float = 0.05,
        cosines: Sequence[float] = (0.9, 0.6),
        balance: float = 0.5,
        weight: float = 1.0,
        *,
        dims: Mapping[str, int],
    ) -> None:
        super().__init__(on, weight, dims)
        check_positive(temperature=temperature)
        check_not_negative(rho=rho, delta=delta)
        check_share(balance=balance)
        if len(cosines) != 2:
            raise ValueError(f"cosines must be two numbers, (alpha, beta), got {cosines}")
        self.alpha, self.beta = cosines
        check_cosines(alpha=self.alpha, beta=self.beta)
        self.temperature = temperature
        self.rho = rho
        self.delta = delta
        self.balance = balance

    def cost(self, pairs: Pairs) -> torch.Tensor:
        """A scalar."""
        cosine = pairs.similarity
        calibration = self._calibrate(pairs, cosine)
        return (1 - self.balance) * self._sup_ap(pairs, cosine) + self.balance * calibration

    def _sup_ap(self, pairs: Pairs, cosine: torch.Tensor) -> torch.Tensor:
        positives = rank_positives(pairs, cosine)
        gap = positives.gap
        among_same = 1 + ((gap.detach() >= 0) & positives.same).sum(dim=1)
        step = torch.sigmoid(gap / self.temperature)
        # A tensor of its own, for the precision of the gaps: a Python number would do on paper.
        top = torch.sigmoid(gap.new_tensor(self.delta / self.temperature))
        line = self.rho * (gap - self.delta) + top
        beyond = torch.where(gap > self.delta, line, step) + 0.5
        bound = torch.where(gap > 0, beyond, step)
        among_all = among_same + (bound * positives.other).sum(dim=1)
        return ((1 - among_same / among_all) * positives.share).sum()

    def _calibrate(self, pairs: Pairs, cosine: torch.Tensor) -> torch.Tensor:
        near = _row_means((self.alpha - cosine).clamp(min=0), pairs.same)
        far = _row_means((cosine - self.beta).clamp(min=0), pairs.other)
        return mean_over_all(near + far, pairs.same.any(dim=1))


def _row_means(cost: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The mean over the mask in every row, 0 where it is empty."""
    return (cost * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)
