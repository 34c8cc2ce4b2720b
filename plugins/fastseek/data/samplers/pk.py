"""P x K batches."""

from __future__ import annotations

import numpy as np

from ...registry import SAMPLERS
from ._batching import Classes, check_batch
from ._singles import RULES, Stand, least_of, warn_of_repeats


@SAMPLERS.register()
class Pk:
    """P different classes with exactly K images each (Hermans et al., 2017); a class's images stand
    together.

    A round shuffles every class and cuts it into runs of K; what is left over waits for the next
    round. A class with fewer than K images is one run: all its images once, then drawn again. While
    P classes still have a run, P of them are drawn evenly and each gives one; then a new round
    begins. An epoch always has as many batches as there are images for.

    Args:
        k: images a class; P is batch_size / k.
        singletons: a class with one image is "repeat"-ed K times (its pairs are then two
            augmentations of one image, but a classifier still sees the class); "drop"-ped; its
            place is taken by another class, drawn from those that are not in the batch ("replace");
            or it is an "error".

    Raises:
        ValueError: P classes of K images cannot be drawn or not be cut into `world_size` equal
            runs.

    Source: Hermans et al., In Defense of the Triplet Loss for Person Re-Identification, 2017 (arXiv
        1703.07737)
    Example: pk(k=4)
    """

    def __init__(
        self,
        k: int = 4,
        singletons: str = "repeat",
        *,
        labels: np.ndarray,
        batch_size: int,
        world_size: int = 1,
        seed: int = 0,
    ) -> None:
        self.classes = Classes(labels, least_of(singletons, labels, RULES))
        check_batch(len(self.classes.rows), batch_size, world_size, k, len(self.classes))
        if singletons == "repeat":
            warn_of_repeats(self.classes.counts, k, f"pk(k={k})")
        self.p, self.k, self.seed = batch_size // k, k, seed
        self.batches = len(self.classes.rows) // batch_size
        self._stand = Stand(self.classes.counts, self.p, singletons == "replace")
        self._runs = np.maximum(1, self.classes.counts // k)

    def epoch(self, n: int) -> np.ndarray:
        """Row numbers [batches, batch_size] int64 of epoch n."""
        random = np.random.default_rng([self.seed, n])
        batches: list[np.ndarray] = []
        while len(batches) < self.batches:
            batches += self._round(random, self.batches - len(batches))
        return np.stack(batches)

    def _round(self, random: np.random.Generator, wanted: int) -> list[np.ndarray]:
        table = self._table(random)
        first = np.cumsum(self._runs) - self._runs
        used = np.zeros_like(self._runs)
        open_, count = np.arange(len(self._runs)), len(self._runs)
        batches: list[np.ndarray] = []
        while count >= self.p and len(batches) < wanted:
            places = random.choice(count, self.p, replace=False)
            chosen = open_[places]
            batches.append(
                self._rows_of_classes(chosen, table[first[chosen] + used[chosen]], random)
            )
            used[chosen] += 1
            for place in sorted(places[used[chosen] == self._runs[chosen]], reverse=True):
                count -= 1
                # The last class that is still open takes its place, so nothing is moved.
                open_[place] = open_[count]
        return batches

    def _rows_of_classes(
        self, chosen: np.ndarray, runs: np.ndarray, random: np.random.Generator
    ) -> np.ndarray:
        shown = self._stand.instead(chosen, random)
        for place in np.flatnonzero(shown != chosen):
            runs[place] = self.classes.draw(shown[place], self.k, random)
        return runs.reshape(-1)

    def _table(self, random: np.random.Generator) -> np.ndarray:
        """One row of K images a run [runs, K], classes in order."""
        rows = self.classes.shuffle(random)
        owner = np.repeat(np.arange(len(self._runs)), self._runs)
        number = np.arange(len(owner)) - (np.cumsum(self._runs) - self._runs)[owner]
        places = (number * self.k)[:, None] + np.arange(self.k)
        counts = self.classes.counts[owner][:, None]
        again = (random.random(places.shape) * counts).astype(np.int64)
        return rows[self.classes.starts[owner][:, None] + np.where(places < counts, places, again)]
