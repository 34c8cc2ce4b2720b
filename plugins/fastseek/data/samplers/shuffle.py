"""Shuffle."""

from __future__ import annotations

import numpy as np

from ...registry import SAMPLERS
from ._batching import batches_of, check_batch


@SAMPLERS.register()
class Shuffle:
    """Every image once an epoch, in a new order; what does not fill a last batch waits for another
    epoch.

    Raises:
        ValueError: the batch is larger than the data or cannot be cut into `world_size` equal runs.

    Example: shuffle()
    """

    def __init__(
        self, *, labels: np.ndarray, batch_size: int, world_size: int = 1, seed: int = 0
    ) -> None:
        check_batch(len(labels), batch_size, world_size)
        self.count, self.batch_size, self.seed = len(labels), batch_size, seed

    def epoch(self, n: int) -> np.ndarray:
        """Row numbers [batches, batch_size] int64 of epoch n."""
        order = np.random.default_rng([self.seed, n]).permutation(self.count)
        return batches_of(order, self.batch_size)
