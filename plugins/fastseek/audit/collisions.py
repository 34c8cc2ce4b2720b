"""How often a batch holds one thing under two names."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import comb


def collision_probability(sizes: Sequence[int], classes: int, ids: int) -> float:
    """The chance that of `ids` classes drawn without repetition two or more are of one duplicate
    group, exactly.

    The batches without such a pair take one class at most of every group: they are counted by the
    product of (1 + size * x) over the groups and (1 + x) over all other classes, in which x stands
    for a class drawn.

    Args:
        sizes: classes of every duplicate group.
        classes: all of them.
        ids: classes a batch.

    Raises:
        ValueError: more classes in groups, or in a batch, than there are.
    """
    single = classes - sum(sizes)
    if single < 0 or not 0 <= ids <= classes:
        raise ValueError(
            f"{sum(sizes)} classes in groups, {ids} a batch, of {classes}: there are too few"
        )
    ways = [1] + [0] * ids
    for size in sizes:
        for drawn in range(ids, 0, -1):
            ways[drawn] += size * ways[drawn - 1]
    apart = sum(ways[drawn] * comb(single, ids - drawn) for drawn in range(ids + 1))
    return float(1 - Fraction(apart, comb(classes, ids)))


def advice(sizes: Sequence[int], classes: int, batch: int) -> list[tuple[int, int, float]]:
    """(n, m, chance of a collision) for every way to fill a batch with n classes of m images each,
    n and m above 1.

    Where duplicates cannot be mended, fewer classes with more images each collide less.

    Args:
        sizes: classes of every duplicate group.
        classes: all of them.
        batch: images a batch.
    """
    ways = [(n, batch // n) for n in range(2, batch // 2 + 1) if batch % n == 0 and n <= classes]
    return [(n, m, collision_probability(sizes, classes, n)) for n, m in ways]
