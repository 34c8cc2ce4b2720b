"""Random numbers: seeding a run, and the state of every generator as plain values that a checkpoint
can hold.
"""

from __future__ import annotations

import contextlib
import logging
import random
import secrets
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from ..distributed import process_group

from fastreid.utils import comm

logger = logging.getLogger("fastreid.fastseek")


def draw_seed(seed: int) -> int:
    """The seed of the run: the given one, or for a negative one a drawn one, equal in all processes
    and logged.
    """
    if seed >= 0:
        return seed
    drawn = process_group.share(secrets.randbelow(2**31))
    logger.info("SEED -1: this run drew the seed %d", drawn)
    return drawn


def seed_all(seed: int) -> None:
    """Seed Python, numpy and torch on every device; each process gets numbers of its own."""
    own = (seed + comm.get_rank()) % 2**32
    random.seed(own)
    np.random.seed(own)
    torch.manual_seed(own)


def state() -> dict[str, Any]:
    """Where the generators of this process stand; tensors and plain values only."""
    version, words, gauss = random.getstate()
    # numpy types it as a dict too, which it is only when asked for with legacy=False
    numpy_state: Any = np.random.get_state()
    kind, keys, position, has_gauss, cached = numpy_state
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {
        "python": [version, list(words), gauss],
        "numpy": [
            kind,
            torch.from_numpy(keys.astype(np.int64)),
            int(position),
            int(has_gauss),
            float(cached),
        ],
        "torch": torch.get_rng_state(),
        "cuda": list(cuda),
    }


def states() -> list[dict[str, Any]]:
    """The states of all processes, by rank."""
    return process_group.collect(state())


def restore(found: list[dict[str, Any]], seed: int, step: int) -> None:
    """Put the generators of this process where a checkpoint left them.

    Args:
        found: the states by rank. With another number of processes than now they cannot be used:
            new ones are derived from seed and step, and that is logged.
        seed: the seed of the run.
        step: the step the run goes on from.
    """
    if len(found) != comm.get_world_size():
        logger.warning(
            "the checkpoint is of %d processes, now there are %d: dropout and the like draw other"
            " numbers",
            len(found),
            comm.get_world_size(),
        )
        seed_all(seed + 1_000_003 * (step + 1))
        return
    _put_state(found[comm.get_rank()])


@contextlib.contextmanager
def preserve_random_state() -> Iterator[None]:
    """Leave the generators of this process as they were, whatever the block draws."""
    before = state()
    try:
        yield
    finally:
        _put_state(before)


def _put_state(mine: dict[str, Any]) -> None:
    version, words, gauss = mine["python"]
    random.setstate((version, tuple(words), gauss))
    kind, keys, position, has_gauss, cached = mine["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), position, has_gauss, cached))
    torch.set_rng_state(mine["torch"])
    if mine["cuda"] and len(mine["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(mine["cuda"])
