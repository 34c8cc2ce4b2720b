"""What becomes of classes with one image."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

logger = logging.getLogger(__name__)

RULES = ("repeat", "drop", "replace", "error")


def least_of(singletons: str, labels: np.ndarray, rules: Sequence[str]) -> int:
    """The fewest images a class may have.

    Args:
        singletons: the rule.
        labels: class of every image.
        rules: those the sampler knows.

    Raises:
        ValueError: an unknown rule, or classes with one image under "error".
    """
    if singletons not in rules:
        raise ValueError(
            f"singletons={singletons!r}: expected {', '.join(map(repr, rules[:-1]))} or"
            f" {rules[-1]!r}"
        )
    alone = int((np.unique(labels, return_counts=True)[1] == 1).sum())
    if singletons == "error" and alone:
        others = [repr(rule) for rule in rules if rule != "error"]
        raise ValueError(
            f"{alone} classes have one image only: add images, or singletons={' or '.join(others)}"
        )
    return 2 if singletons == "drop" else 1


def warn_of_repeats(counts: np.ndarray, k: int, call: str) -> None:
    """Log how many classes have fewer images than stand together in a batch.

    Args:
        counts: images of every class.
        k: how many stand together.
        call: the sampler, as a recipe writes it.
    """
    alone, few = int((counts == 1).sum()), int((counts < k).sum())
    if alone:
        logger.warning(
            "%s: %d of %d classes have one image only, so their pairs are of an image with itself;"
            " singletons='drop' leaves them out",
            call,
            alone,
            len(counts),
        )
    elif few:
        logger.info(
            "%s: %d of %d classes have fewer images: some stand there twice", call, few, len(counts)
        )


class Stand:
    """Classes with two images and more, that take the places of those with one.

    Args:
        counts: images of every class.
        wanted: different classes a batch needs.
        active: whether the rule is "replace".

    Raises:
        ValueError: too few classes have two images.
    """

    def __init__(self, counts: np.ndarray, wanted: int, active: bool) -> None:
        self.alone = (counts == 1) & active
        self.paired = np.flatnonzero(~self.alone)
        if len(self.paired) < wanted:
            raise ValueError(
                f"{len(self.paired)} classes have two images or more, a batch needs {wanted}"
            )

    def instead(self, numbers: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """The classes of a batch, each with one image replaced by one drawn evenly from those not
        in it.
        """
        alone = self.alone[numbers]
        if not alone.any():
            return numbers
        others = random.choice(np.setdiff1d(self.paired, numbers), int(alone.sum()), replace=False)
        replaced = numbers.copy()
        replaced[alone] = others
        return replaced
