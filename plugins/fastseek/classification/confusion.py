"""Which classes are taken for which."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np


@dataclasses.dataclass(frozen=True)
class Confused:
    """Two classes that are taken for each other.

    Args:
        first, second: their labels.
        first_as_second, second_as_first: how many images.
        images: how many images of the two there are.
    """

    first: str
    second: str
    first_as_second: int
    second_as_first: int
    images: int

    @property
    def share(self) -> float:
        """Confused images as a share of those of the two classes."""
        return (self.first_as_second + self.second_as_first) / self.images


def confused_pairs(
    probabilities: np.ndarray, truth: np.ndarray, classes: Sequence[str], most: int = 20
) -> list[Confused]:
    """The pairs of classes with the most images taken for one another; ties stand by label.

    Args:
        probabilities: [N, C].
        truth: int64 [N], -1 for an image of no known class; such images are left out.
        classes: [C] labels.
        most: how many pairs.
    """
    inside = truth >= 0
    true, said = truth[inside], probabilities[inside].argmax(axis=1)
    images = np.bincount(true, minlength=len(classes))
    counts: dict[tuple[int, int], list[int]] = {}
    for one, other in zip(true.tolist(), said.tolist(), strict=True):
        if one != other:
            # Under the smaller number first, whichever was taken for the other.
            counts.setdefault((min(one, other), max(one, other)), [0, 0])[int(one > other)] += 1
    pairs = [
        Confused(classes[low], classes[high], there, back, int(images[low] + images[high]))
        for (low, high), (there, back) in counts.items()
    ]
    pairs.sort(
        key=lambda pair: (-pair.first_as_second - pair.second_as_first, pair.first, pair.second)
    )
    return pairs[:most]
