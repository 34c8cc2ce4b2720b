"""Parts of the classes that an adapter is fitted without, and images that it is not fitted on."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..errors import DataError

FIFTHS = 5  # one image in so many of a seen class asks and is not fitted on


class Fold(NamedTuple):
    """One fit and its test, as row numbers.

    `fit` are images of the seen classes. `queries` are those seen classes' other images and all
    images of the unseen classes, for which `unseen` [Q] is True. `gallery` holds the fitted images
    and those of the unseen classes.
    """

    fit: np.ndarray
    queries: np.ndarray
    unseen: np.ndarray
    gallery: np.ndarray


def make_folds(classes: np.ndarray, count: int, seed: int) -> list[Fold]:
    """Divide the classes so that each is unseen in one fold.

    Args:
        classes: int64 [N], numbers from 0.
        count: how many folds; as many as there are classes with two images, if those are fewer.
        seed: of the division.

    Raises:
        DataError: there are too few classes for one to be left out and two to be fitted on.
    """
    sizes, random = np.bincount(classes), np.random.default_rng(seed)
    several = random.permutation(np.flatnonzero(sizes > 1))
    count = min(count, len(several))
    if len(sizes) < 3 or count < 2:
        raise DataError(
            f"{len(sizes)} classes, {len(several)} of them with two images or more: an adapter is"
            " judged on classes it is not fitted on, which takes 3 classes, 2 of them with two"
            " images: label more, or judge nothing (folds 0)"
        )
    fold_of = np.full(len(sizes), -1)  # a class of one image cannot be found and is always fitted
    fold_of[several] = np.arange(len(several)) % count
    turn = _number_images(classes, random)
    folds = []
    for number in range(count):
        unseen = fold_of[classes] == number
        asks = ~unseen & (sizes[classes] > 1) & (turn == number % FIFTHS)
        queries = np.flatnonzero(unseen | asks)
        folds.append(
            Fold(np.flatnonzero(~unseen & ~asks), queries, unseen[queries], np.flatnonzero(~asks))
        )
    return folds


def draw_classes(classes: np.ndarray, most: int, seed: int) -> np.ndarray:
    """Rows of whole classes, drawn until the next one would be too many; all if they are few.

    Args:
        classes: int64 [N], numbers from 0.
        most: rows, exceeded only where three classes are more.
        seed: of the draw.
    """
    if len(classes) <= most:
        return np.arange(len(classes))
    sizes = np.bincount(classes)
    drawn = np.random.default_rng(seed).permutation(len(sizes))
    kept = drawn[: max(3, int((np.cumsum(sizes[drawn]) <= most).sum()))]
    return np.flatnonzero(np.isin(classes, kept))


def _number_images(classes: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """[N] the number of every image within its class, in a random order, modulo FIFTHS."""
    order = random.permutation(len(classes))
    order = order[np.argsort(classes[order], kind="stable")]
    ends = np.cumsum(np.bincount(classes))
    numbers = np.empty(len(classes), np.int64)
    numbers[order] = np.arange(len(classes)) - np.concatenate([[0], ends[:-1]])[classes[order]]
    return numbers % FIFTHS
