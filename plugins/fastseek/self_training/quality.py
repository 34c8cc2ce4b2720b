"""How good a choice among unlabelled images was, where their classes are known after all."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from ..knn.centroids import check_same_length
from ..structures import Score


def of_choice(chosen: np.ndarray, truth: Sequence[str], inside: Collection[str]) -> list[Score]:
    """Of the chosen images, how many are of known classes, and of those of known classes, how many
    were chosen.

    Args:
        chosen: bool [N] over the unlabelled images.
        truth: [N] their hidden classes.
        inside: the known classes.

    Returns:
        "inside precision" and "inside recall", `per_query` over the N images, NaN where one does
        not count; a figure that rests on no image is left out.
    """
    check_same_length(images=chosen, truth=truth)
    belongs, known = np.array([one in inside for one in truth], bool), set(inside)
    return _shares(
        {"inside precision": (chosen, belongs), "inside recall": (belongs, chosen)},
        {
            "photos": len(chosen),
            "of known classes": int(belongs.sum()),
            "known classes": len(known),
        },
    )


def of_labels(labels: Sequence[str], truth: Sequence[str], inside: Collection[str]) -> list[Score]:
    """How many given labels are right, and how many images of known classes got their right one.

    Args:
        labels: [N] labels given, "" for none.
        truth: [N] hidden classes.
        inside: the known classes.

    Returns:
        "label precision" and "label recall", as `of_choice`.
    """
    check_same_length(labels=labels, truth=truth)
    given = np.array([bool(label) for label in labels], bool)
    right = np.array([label == real for label, real in zip(labels, truth, strict=True)], bool)
    belongs = np.array([one in inside for one in truth], bool)
    return _shares(
        {"label precision": (given, right), "label recall": (belongs, right & given)},
        {"photos": len(given), "labelled": int(given.sum())},
    )


def of_clusters(numbers: np.ndarray, truth: Sequence[str]) -> list[Score]:
    """Purity: the share of the images that are of the most frequent class of their cluster.

    Args:
        numbers: int64 [N] clusters, -1 for an image in none, which does not count.
        truth: [N] classes.
    """
    check_same_length(images=numbers, truth=truth)
    names, codes = np.unique(np.asarray(truth, str), return_inverse=True)
    common = np.zeros(len(codes), bool)
    for number in np.unique(numbers[numbers >= 0]):
        rows = np.flatnonzero(numbers == number)
        common[rows] = codes[rows] == np.bincount(codes[rows], minlength=len(names)).argmax()
    return _shares(
        {"purity": (numbers >= 0, common)}, {"clusters": len(np.unique(numbers[numbers >= 0]))}
    )


def _shares(wanted: dict[str, tuple[np.ndarray, np.ndarray]], told: dict[str, int]) -> list[Score]:
    """The share of the second among the first, by name."""
    made = []
    for name, (among, those) in wanted.items():
        if among.any():
            each = np.where(among, those, np.nan).astype(float)
            made.append(Score(name, float(np.nanmean(each)), each, told))
    return made
