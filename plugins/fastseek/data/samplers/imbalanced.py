"""Classes equally often."""

from __future__ import annotations

import numpy as np

from ...registry import SAMPLERS
from ._batching import Classes, batches_of, check_batch


@SAMPLERS.register()
class Imbalanced:
    """Every place in a batch draws a class evenly and then one of its images, so rare classes come
    as often as others.

    Images are drawn again and again; an epoch has as many places as there are images.

    Raises:
        ValueError: the batch is larger than the data or cannot be cut into `world_size` equal runs.

    Source: ImbalancedDatasetSampler of fast-reid
    Example: imbalanced()
    """

    def __init__(
        self, *, labels: np.ndarray, batch_size: int, world_size: int = 1, seed: int = 0
    ) -> None:
        check_batch(len(labels), batch_size, world_size)
        self.classes = Classes(labels)
        self.batch_size, self.seed = batch_size, seed

    def epoch(self, n: int) -> np.ndarray:
        """Row numbers [batches, batch_size] int64 of epoch n."""
        random = np.random.default_rng([self.seed, n])
        chosen = random.integers(len(self.classes), size=len(self.classes.rows))
        within = (random.random(len(chosen)) * self.classes.counts[chosen]).astype(np.int64)
        return batches_of(self.classes.rows[self.classes.starts[chosen] + within], self.batch_size)
