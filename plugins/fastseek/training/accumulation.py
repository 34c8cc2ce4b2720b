"""Which batches make an update together."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Windows:
    """Runs of `size` consecutive batches within an epoch; what is left at its end makes a shorter
    one.

    Args:
        size: batches an update, SEEK.ACCUMULATE.
        iters_per_epoch: batches an epoch.
    """

    size: int = 1
    iters_per_epoch: int = 1

    def around(self, step: int) -> tuple[int, int]:
        """First and last batch, as steps of the training, of the run that holds a step."""
        if self.size == 1:
            return step, step
        epoch, place = divmod(step, self.iters_per_epoch)
        first = place - place % self.size
        last = min(first + self.size, self.iters_per_epoch) - 1
        return epoch * self.iters_per_epoch + first, epoch * self.iters_per_epoch + last

    def closes(self, step: int) -> bool:
        """Whether an update follows a step."""
        return self.around(step)[1] == step

    def update(self, step: int) -> int:
        """The number of the update, from 0, that a step takes part in."""
        if self.size == 1:
            return step
        epoch, place = divmod(step, self.iters_per_epoch)
        return epoch * self.updates_per_epoch + place // self.size

    @property
    def updates_per_epoch(self) -> int:
        """Updates an epoch."""
        return -(-self.iters_per_epoch // self.size)
