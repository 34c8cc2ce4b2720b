"""P x K batches with every class equally often and other cameras first."""

from __future__ import annotations

import numpy as np

from ...registry import SAMPLERS
from ._batching import Classes, check_batch
from ._singles import least_of, warn_of_repeats


@SAMPLERS.register()
class BalancedPk:
    """P different classes with exactly K images each: every class once a round, and K images of
    many cameras.

    Of a class one image is drawn, then images of other cameras than its own, then of its own
    camera; only when all are used is one drawn again. This is what fast-reid's
    BalancedIdentitySampler is for.

    Args:
        k: images a class; P is batch_size / k.
        singletons: "repeat", "drop" or "error", as for `pk`.

    Raises:
        ValueError: P classes of K images cannot be drawn or not be cut into `world_size` equal
            runs.

    Source: BalancedIdentitySampler of fast-reid
    Example: balanced_pk(k=4)
    """

    def __init__(
        self,
        k: int = 4,
        singletons: str = "repeat",
        *,
        labels: np.ndarray,
        groups: np.ndarray,
        batch_size: int,
        world_size: int = 1,
        seed: int = 0,
    ) -> None:
        self.classes = Classes(labels, least_of(singletons, labels, ("repeat", "drop", "error")))
        check_batch(len(self.classes.rows), batch_size, world_size, k, len(self.classes))
        if singletons == "repeat":
            warn_of_repeats(self.classes.counts, k, f"balanced_pk(k={k})")
        self.groups = np.asarray(groups)
        self.p, self.k, self.seed = batch_size // k, k, seed
        self.batches = len(self.classes.rows) // batch_size

    def epoch(self, n: int) -> np.ndarray:
        """Row numbers [batches, batch_size] int64 of epoch n."""
        random = np.random.default_rng([self.seed, n])
        a_round = len(self.classes) // self.p
        rounds = -(-self.batches // a_round)
        order = [random.permutation(len(self.classes))[: a_round * self.p] for _ in range(rounds)]
        numbers = np.concatenate(order)[: self.batches * self.p]
        return np.stack([self._rows_of_class(number, random) for number in numbers]).reshape(
            self.batches, -1
        )

    def _rows_of_class(self, number: int, random: np.random.Generator) -> np.ndarray:
        rows = random.permutation(self.classes.members(number))
        same_camera = self.groups[rows] == self.groups[rows[0]]
        same_camera[0] = False
        # Stable, so that images of other cameras keep their random order.
        rows = rows[np.argsort(same_camera, kind="stable")][: self.k]
        return np.append(rows, random.choice(rows, self.k - len(rows)))
