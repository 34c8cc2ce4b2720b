"""What samplers share: refusing a batch before the first is drawn, cutting an order, the rows of
every class.
"""

from __future__ import annotations

import numpy as np


def check_batch(
    count: int, batch_size: int, world_size: int, k: int = 1, classes: int | None = None
) -> None:
    """Refuse a batch that cannot be drawn or cannot be cut into equal runs of whole classes, one
    run a process.

    Args:
        count: images.
        batch_size: of all processes together.
        world_size: processes.
        k: images of one class that stand together.
        classes: how many there are, when no class may come twice.

    Raises:
        ValueError: says the legal values.
    """
    if k < 1 or world_size < 1:
        raise ValueError(f"k={k}, world_size={world_size}: expected whole numbers above 0")
    # The border between two processes must not cut a class's run.
    step = world_size * k
    largest = count // step * step
    if classes is not None:
        largest = min(largest, classes // world_size * step)
    have = f"{count} images" + (f" of {classes} classes" if classes is not None else "")
    if largest == 0:
        raise ValueError(
            f"{have} are too few for the smallest batch, {step} ({world_size} processes x {k})"
        )
    if not 0 < batch_size <= largest or batch_size % step:
        multiple = f"a multiple of {step} ({world_size} processes x {k}) " if step > 1 else ""
        raise ValueError(
            f"a batch of {batch_size} from {have}: expected {multiple}from {step} to {largest}"
        )


def batches_of(order: np.ndarray, batch_size: int) -> np.ndarray:
    """[batches, batch_size] int64; a last run that is too short is left out."""
    batches = len(order) // batch_size
    return np.asarray(order[: batches * batch_size], np.int64).reshape(batches, batch_size)


class Classes:
    """The rows of every class.

    Args:
        labels: class of each row, whole numbers [N]; classes without rows do not count.
        least: classes with fewer rows are left out.

    Attributes: `rows` [n], sorted by class; class c has rows[starts[c]:starts[c] + counts[c]].
    """

    def __init__(self, labels: np.ndarray, least: int = 1) -> None:
        known, place, counts = np.unique(
            np.asarray(labels), return_inverse=True, return_counts=True
        )
        kept = counts >= least
        order = np.argsort(place, kind="stable")
        self.rows = order[kept[place[order]]].astype(np.int64)
        self.counts = counts[kept].astype(np.int64)
        self.starts = np.cumsum(self.counts) - self.counts
        self.of_row = np.repeat(np.arange(len(self.counts)), self.counts)

    def __len__(self) -> int:
        return len(self.counts)

    def shuffle(self, random: np.random.Generator) -> np.ndarray:
        """`rows` with every class's rows in a new order."""
        return self.rows[np.lexsort((random.random(len(self.rows)), self.of_row))]

    def members(self, number: int) -> np.ndarray:
        """The rows of one class."""
        return self.rows[self.starts[number] : self.starts[number] + self.counts[number]]

    def draw(self, number: int, k: int, random: np.random.Generator) -> np.ndarray:
        """k rows of one class, in a random order; one comes again only when all are used up."""
        rows = random.permutation(self.members(number))[:k]
        return np.append(rows, random.choice(rows, k - len(rows)))
