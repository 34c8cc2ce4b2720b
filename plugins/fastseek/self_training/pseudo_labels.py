"""Pseudo labels: which predictions may teach, and why the others may not."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence

import numpy as np

from ..errors import DataError, UsageError
from ..io import csv_rows
from ..io.paths import PathLike
from ..knn.centroids import check_same_length

COLUMNS = ("id", "label", "confidence", "similarity", "round", "model", "accepted", "why")


@dataclasses.dataclass(frozen=True)
class PseudoLabelRule:
    """What a prediction must pass, in this order.

    Args:
        threshold: the least probability (FixMatch: >= 0.95; Sorghum: 0.9, later 0.7).
        quantile: instead of a threshold, this share of all images, divided among the classes as the
            labelled images are; every class takes its surest. None for the threshold.
        cap: images accepted of one class, the surest; None for all.

    Raises:
        UsageError: a value outside its range.
    """

    threshold: float = 0.95
    quantile: float | None = None
    cap: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 1 or self.quantile is not None and not 0 < self.quantile <= 1:
            raise UsageError(
                f"threshold and quantile are shares, got {self.threshold} and {self.quantile}"
            )
        if self.cap is not None and self.cap < 1:
            raise UsageError(f"cap must be 1 or more images a class, or none, got {self.cap}")


@dataclasses.dataclass(frozen=True, eq=False)
class PseudoLabels:
    """What was predicted for images without labels, and what was decided.

    Args:
        ids: [N].
        labels: [N] the most probable class.
        confidence: float32 [N], its probability.
        similarity: float32 [N], the cosine to its prototype; NaN when that was not tested.
        why: [N] "" for an accepted image, else the first rule that refused it.
        number: the round.
        model: hash of the weights that predicted.
    """

    ids: np.ndarray
    labels: np.ndarray
    confidence: np.ndarray
    similarity: np.ndarray
    why: np.ndarray
    number: int
    model: str

    @property
    def accepted(self) -> np.ndarray:
        """bool [N]."""
        return self.why == ""

    def save(self, path: PathLike) -> None:
        """Write all of it as CSV: where every label comes from."""
        columns = self.ids, self.labels, self.confidence, self.similarity, self.why
        rows = (
            (
                name,
                label,
                f"{sure:.9g}",
                "" if np.isnan(near) else f"{near:.9g}",
                self.number,
                self.model,
                "no" if why else "yes",
                why,
            )
            for name, label, sure, near, why in zip(*columns, strict=True)
        )
        csv_rows.write(path, COLUMNS, rows)

    @classmethod
    def load(cls, path: PathLike) -> PseudoLabels:
        """Read what `save` wrote.

        Raises:
            DataError: it cannot be read or is another table; names the line.
        """
        rows = [row for _, row in csv_rows.read(path, COLUMNS, only=True)]
        table = np.array(rows, str).reshape(len(rows), len(COLUMNS))
        column = dict(zip(COLUMNS, table.T, strict=True))
        try:
            near = np.array([float(text or "nan") for text in column["similarity"]], np.float32)
            sure = column["confidence"].astype(np.float32)
            number = int(column["round"][0]) if rows else 0
        except ValueError as error:
            raise DataError(
                f"{path}: not a table of pseudo labels ({error}): expected {','.join(COLUMNS)}"
            ) from error
        model = str(column["model"][0]) if rows else ""
        return cls(column["id"], column["label"], sure, near, column["why"], number, model)


def mask_probabilities(
    probabilities: np.ndarray, groups: Sequence[str], of: Sequence[Collection[str]]
) -> np.ndarray:
    """Probabilities float32 [N, C] without the classes of other groups, and each row's rest made 1
    again.

    An image of unknown group ("") and a class of unknown group (empty) are masked by nothing. A row
    of which nothing is left is zero.

    Args:
        probabilities: [N, C].
        groups: [N] group of every image.
        of: [C] groups of every class, from `taxonomy`.
    """
    check_same_length(probabilities=probabilities, groups=groups)
    check_same_length(classes=probabilities.T, groups_of_classes=of)
    known = {
        group: np.array([not mine or group in mine for mine in of])
        for group in set(groups)
        if group
    }
    everything = np.ones(len(of), bool)
    legal = (
        np.stack([known.get(group, everything) for group in groups])
        if len(groups)
        else np.empty((0, len(of)))
    )
    made = np.where(legal, probabilities, 0).astype(np.float64)
    whole = made.sum(axis=1, keepdims=True)
    return np.divide(made, whole, out=np.zeros_like(made), where=whole > 0).astype(np.float32)


def decide(
    probabilities: np.ndarray,
    counts: np.ndarray,
    rule: PseudoLabelRule,
    similarity: np.ndarray | None = None,
    floor: float = -np.inf,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Choose which predictions are accepted as labels.

    Of equally sure images the earlier one is the surer.

    Args:
        probabilities: [N, C], calibrated and masked as wanted; a row of zeros has no class.
        counts: int64 [C] labelled images of every class, which shape the quantile; a class with
            none is none to learn.
        rule: threshold or quantile, and cap.
        similarity: float32 [N], the cosine of every image to the prototype of its most probable
            class; None leaves the prototype test out.
        floor: the least of it.

    Returns:
        int64 [N] most probable class, float32 [N] its probability, and [N] why not, "" for an
        accepted image.
    """
    check_same_length(probabilities=probabilities, similarity=similarity)
    classes = probabilities.argmax(axis=1).astype(np.int64)
    sure = probabilities[np.arange(len(classes)), classes].astype(np.float32)
    why = np.full(len(classes), "", object)
    why[sure <= 0] = "no class of its group"
    why[(why == "") & (np.asarray(counts)[classes] == 0)] = "not a class with labelled images"
    if similarity is not None:
        far = (why == "") & ~(similarity >= floor)
        why[far] = [f"prototype: {value:.3f} is below {floor:.3f}" for value in similarity[far]]
    if rule.quantile is None:
        low = (why == "") & ~(sure >= np.float32(rule.threshold))
        why[low] = [f"confidence: {value:.3f} is below {rule.threshold:g}" for value in sure[low]]
    else:
        shares = np.asarray(counts) / np.sum(counts)
        _limit(
            why,
            classes,
            sure,
            np.round(rule.quantile * len(classes) * shares).astype(np.int64),
            "quantile",
        )
    if rule.cap is not None:
        _limit(why, classes, sure, np.full(probabilities.shape[1], rule.cap), "cap")
    return classes, sure, why.astype(str)


def _limit(
    why: np.ndarray, classes: np.ndarray, sure: np.ndarray, quota: np.ndarray, name: str
) -> None:
    """Refuse whom a class has no room for, in place."""
    for number in np.unique(classes):
        rows = np.flatnonzero((classes == number) & (why == ""))
        late = rows[np.argsort(-sure[rows], kind="stable")][quota[number] :]
        why[late] = f"{name}: the class takes {quota[number]}"


def count_changes(before: PseudoLabels, after: PseudoLabels) -> float:
    """Share of the images accepted in one of two rounds whose label differs, "not accepted" being
    one.

    0 when nobody is accepted in either. Rounds stop when it is below 1 %: no test label is needed
    for that.
    """
    tables = [
        dict(zip(one.ids[one.accepted].tolist(), one.labels[one.accepted].tolist(), strict=True))
        for one in (before, after)
    ]
    everyone = set(tables[0]) | set(tables[1])
    return sum(tables[0].get(name) != tables[1].get(name) for name in everyone) / max(
        len(everyone), 1
    )
