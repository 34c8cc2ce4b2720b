"""BNNeck: BatchNorm between the feature of the metric losses and the feature of the classifier."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import nn

from ...errors import UsageError
from ...registry import BRANCHES, pick
from ..layers.gem import pool as pooling
from ._necks import reduce_to


@BRANCHES.register()
class Bnneck(nn.Module):
    """One pooled map, with and without BatchNorm (Luo et al., Bag of Tricks for Person
    Re-Identification, 2019).

    "bnneck" (after BatchNorm, whose bias stays 0) is for retrieval and the classifier;
    "bnneck/before" is for triplet and other metric losses. Whether vectors are brought to length 1
    at the test is up to the search: `exact(metric='cosine')` does, `exact(metric='l2')` does not.

    Args:
        on: the map.
        pool: "avg" or "gem" (p trained).
        p: where GeM's exponent starts.
        dim: D of a linear layer in between; 0 leaves it out.
        dropout: share of the values of "bnneck" set to 0 in training, before the classifier.
        dropout_from: where dropout begins, for a late phase: as a share of the training below 1,
            or the number of the first step with it.
        gamma_std: BatchNorm's weight starts at N(1, gamma_std); DIGIX's second place had 0.02.
        test: which feature evaluation returns, "after" or "before" BatchNorm.
        channels: map name -> channels, of the backbone.

    Raises:
        ValueError: a map the backbone does not give, an unknown pooling or test, or an illegal
            number.

    Source: Luo et al., Bag of Tricks and a Strong Baseline for Deep Person Re-identification, CVPRW
        2019 (arXiv 1903.07071)
    Example: bnneck(on='s4', pool='gem')
    """

    def __init__(
        self,
        on: str = "s4",
        pool: str = "avg",
        p: float = 3.0,
        dim: int = 0,
        dropout: float = 0.0,
        dropout_from: float = 0,
        gamma_std: float = 0.0,
        test: str = "after",
        *,
        channels: Mapping[str, int],
    ) -> None:
        super().__init__()
        if not 0 <= dropout < 1 or gamma_std < 0:
            raise ValueError(
                f"dropout must be in [0, 1) and gamma_std not negative, got {dropout}, {gamma_std}"
            )
        if dropout_from < 0 or dropout_from >= 1 and dropout_from % 1:
            raise ValueError(
                "dropout_from must be a share of the training below 1 or the number of a step, got"
                f" {dropout_from}"
            )
        if test not in ("after", "before"):
            raise ValueError(f"test must be 'after' or 'before' (BatchNorm), got {test!r}")
        self.on, self.dropout, self.dropout_from = on, dropout, dropout_from
        self.dropping = dropout_from == 0
        self.steps = 0
        width = pick(channels, on, "map of the backbone")
        self.pool = pooling(pool, p)
        self.reduce = reduce_to(width, dim, bias=False)
        self.norm = nn.BatchNorm1d(dim or width)
        self.norm.bias.requires_grad_(False)
        if gamma_std:
            nn.init.normal_(self.norm.weight, 1.0, gamma_std)
        self.dims = {"bnneck": dim or width, "bnneck/before": dim or width}
        self.tested = "bnneck" if test == "after" else "bnneck/before"

    @property
    def needs_steps(self) -> bool:
        """Whether the dropout begins later."""
        return self.dropout > 0 and self.dropout_from > 0

    def start_training(self, steps: int) -> None:
        """Take in how many steps the training has."""
        self.steps = steps

    def at_step(self, step: int) -> None:
        """Switch dropout on or off as training step `step` (from 0) wants it.

        Raises:
            UsageError: dropout begins after a share of a training whose length is not known.
        """
        first = self.dropout_from
        if 0 < first < 1:
            if not self.steps:
                raise UsageError(
                    f"bnneck(dropout_from={first}): the trainer does not tell how long it trains"
                    " (`start_training`): give the number of a step"
                )
            first = math.ceil(first * self.steps)
        self.dropping = step >= first

    def forward(self, maps: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Maps [B, C, h, w] -> {"bnneck": [B, D], "bnneck/before": [B, D]}."""
        before = self.reduce(self.pool(maps[self.on]))
        after = F.dropout(self.norm(before), self.dropout, self.training and self.dropping)
        return {"bnneck": after, "bnneck/before": before}
