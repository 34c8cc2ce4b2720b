"""Large classes under-sampled."""

from __future__ import annotations

import numpy as np

from ...registry import SAMPLERS, build
from ._batching import Classes


@SAMPLERS.register()
class Capped:
    """At most `cap` images of every class an epoch, drawn anew each time; small classes give all
    they have.

    The second stage of two-stage training on a long tail (DIGIX 2020, third place): the model has
    seen all images, and now learns from classes of like size. What is drawn goes through another
    sampler.

    Args:
        cap: images a class, or "median", the median size of the classes.
        of: call string of the sampler that makes batches of what was drawn, such as "pk(k=4)".

    Raises:
        ValueError: a cap below 1, or settings the other sampler refuses for what is left.

    Source: Huawei DIGIX 2020 image retrieval, third place
    Example: capped(cap='median', of='pk(k=4)')
    """

    def __init__(
        self,
        cap: int | str = "median",
        of: str = "shuffle()",
        *,
        labels: np.ndarray,
        groups: np.ndarray,
        batch_size: int,
        world_size: int = 1,
        seed: int = 0,
    ) -> None:
        self.classes, self.labels, self.groups = (
            Classes(labels),
            np.asarray(labels),
            np.asarray(groups),
        )
        self.cap = int(np.median(self.classes.counts)) if cap == "median" else cap
        if isinstance(self.cap, str) or self.cap < 1:
            raise ValueError(f"cap must be a whole number of 1 or more, or 'median', got {cap!r}")
        self.of, self.seed = of, seed
        self._given = {"batch_size": batch_size, "world_size": world_size, "seed": seed}
        self.batches = len(self.epoch(0))

    def epoch(self, n: int) -> np.ndarray:
        """Row numbers [batches, batch_size] int64 of epoch n."""
        rows = self.classes.shuffle(np.random.default_rng([self.seed, n, 1]))
        place = np.arange(len(rows)) - self.classes.starts[self.classes.of_row]
        rows = np.sort(rows[place < self.cap])
        # The classes keep their sizes from epoch to epoch, so the other sampler gives as many
        # batches every time.
        chosen = build(
            self.of, SAMPLERS, labels=self.labels[rows], groups=self.groups[rows], **self._given
        )
        return rows[chosen.epoch(n)]
