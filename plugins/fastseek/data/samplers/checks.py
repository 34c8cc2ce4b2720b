"""What every sampler refuses before the first batch, and the cutting of an order into batches."""

from __future__ import annotations

import numpy as np


def check_batch(count: int, batch_size: int, world_size: int, unit: int = 1) -> None:
    """Refuse a batch that cannot be drawn or cannot be cut into equal runs, one a process.

    Args:
        count: photos.
        batch_size: of all processes together.
        world_size: processes.
        unit: photos that stay together (K of a P x K batch).

    Raises:
        ValueError: says the legal values.
    """
    step = world_size * unit
    largest = count // step * step
    if largest == 0:
        raise ValueError(f"{count} photos are fewer than the smallest batch, {step} ({world_size} processes x {unit})")
    if batch_size < 1 or batch_size % step or batch_size > largest:
        multiples = f"a multiple of {step} ({world_size} processes x {unit}) " if step > 1 else ""
        raise ValueError(f"batch of {batch_size} for {count} photos: expected {multiples}from {step} to {largest}")


def batches_of(order: np.ndarray, batch_size: int) -> np.ndarray:
    """[batches, batch_size] int64; a last run that is too short is left out."""
    batches = len(order) // batch_size
    return np.asarray(order[:batches * batch_size], np.int64).reshape(batches, batch_size)
