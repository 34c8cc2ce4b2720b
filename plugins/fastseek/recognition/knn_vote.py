"""Labels for images that have none, by the vote of their nearest neighbors in a labelled set."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from ..errors import DataError
from ..io.paths import PathLike
from ..knn.nearest import nearest
from ..structures import Embeddings
from ..structures.label_file import read_labels
from ..structures.provenance import check_same_model

CONFIDENCES = ("sum", "sum/3", "mean-of-agreeing", "top1")


class Votes(NamedTuple):
    """For every image its label, a number of `Reference.classes` (int64 [N]), and how sure that is
    (float64 [N]).
    """

    labels: np.ndarray
    confidence: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Reference:
    """Embeddings whose labels are known.

    Args:
        embeddings: [R] images.
        classes: the labels there are, sorted strings.
        labels: [R] int64, which of them every image has.
    """

    embeddings: Embeddings
    classes: np.ndarray
    labels: np.ndarray

    @classmethod
    def from_labels(cls, embeddings: Embeddings, labels: np.ndarray) -> Reference:
        """From one label (a string) for every image.

        Raises:
            DataError: there is no image, or not one label for each.
        """
        labels = np.asarray(labels, str)
        if not len(embeddings) or len(labels) != len(embeddings):
            raise DataError(
                f"{len(labels)} labels for {len(embeddings)} reference images: give one each, at"
                " least one"
            )
        classes, numbers = np.unique(labels, return_inverse=True)
        return cls(embeddings, classes, numbers.astype(np.int64))

    @classmethod
    def load(cls, folder: PathLike, labels: PathLike) -> Reference:
        """Open embeddings and read their labels.

        Args:
            folder: embeddings, as `Embeddings.load` takes them.
            labels: a CSV file, as `read_labels` takes it; may tell of other images too.

        Raises:
            DataError: a file cannot be read, or an image has no label; names file and line, or the
                image.
            ArtefactError: a byte of the embeddings was changed.
        """
        embeddings = Embeddings.load(folder, verify=True)
        return cls.from_labels(
            embeddings, look_up_labels(embeddings, read_labels(labels), labels, folder)
        )

    def vote(
        self, side: Embeddings, votes: int = 3, confidence: str = "sum/3", name: str = "images"
    ) -> Votes:
        """The label whose cosines, among the `votes` nearest reference images, sum up to most.

        Of equal sums the one of the nearer image wins.

        Args:
            side: images of the reference's model.
            votes: how many neighbors vote.
            confidence: what is returned beside the label: "sum", the winning label's cosines
                summed; "sum/3", that divided by `votes`, so that neighbors of other labels count
                as zeros; "mean-of-agreeing", divided by the number of neighbors that agree;
                "top1", the largest of their cosines. Never below 0.
            name: what an error calls the side.

        Raises:
            ArtefactError: it is of another model. DataError: a vector is zero or not finite; names
                its id.
        """
        check_same_model(side, self.embeddings, name, "reference")
        found = nearest(side, self.embeddings, votes, lowest=False)
        labels, cosines = self.labels[found.rows], found.scores.astype(np.float64)
        winners, total = pick_labels(labels, cosines)
        agrees = labels == winners[:, None]
        sure = {
            "sum": total,
            "sum/3": total / votes,
            "mean-of-agreeing": total / agrees.sum(axis=1),
            # Best first: the first that agrees is the nearest.
            "top1": np.take_along_axis(cosines, agrees.argmax(axis=1)[:, None], axis=1)[:, 0],
        }[confidence]
        return Votes(winners, np.maximum(sure, 0))


def pick_labels(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The label [N] whose scores add up to most, and the sum [N].

    Args:
        labels, scores: [N, K] of the voters; of equal sums the label that is named first wins.
    """
    same = labels[:, :, None] == labels[:, None, :]
    sums = (same * scores[:, None, :]).sum(axis=2)
    winner = sums.argmax(axis=1)[:, None]
    return (
        np.take_along_axis(labels, winner, axis=1)[:, 0],
        np.take_along_axis(sums, winner, axis=1)[:, 0],
    )


def look_up_labels(
    embeddings: Embeddings, known: Mapping[str, str], labels: PathLike, folder: PathLike
) -> np.ndarray:
    """The label [R] of every image, out of id -> label.

    Args:
        embeddings: the images.
        known: may tell of other images too.
        labels, folder: where both come from, for the error.

    Raises:
        DataError: an image has no label; names the first.
    """
    missing = [str(name) for name in embeddings.ids if str(name) not in known]
    if missing:
        raise DataError(
            f"{labels}: no label for {len(missing)} images of {folder}, the first is {missing[0]!r}"
        )
    return np.array([known[str(name)] for name in embeddings.ids], str)


def check_votes(votes: int, confidence: str) -> None:
    """Refuse impossible settings.

    Raises:
        ValueError: there is no vote, or no such confidence.
    """
    if votes < 1:
        raise ValueError(f"votes must be 1 or more, got {votes}")
    if confidence not in CONFIDENCES:
        raise ValueError(f"conf must be one of {', '.join(CONFIDENCES)}, got {confidence!r}")


def vote_listed(
    reference: Reference, gallery: Embeddings, rows: np.ndarray, votes: int, confidence: str
) -> Votes:
    """Votes of the gallery, [G]; only images named in `rows` are looked at when they are less than
    half of it.

    The others get label -1 and confidence 0.
    """
    rows = np.unique(rows[rows >= 0])
    if 2 * len(rows) >= len(gallery):
        return reference.vote(gallery, votes, confidence, "gallery")
    some = Embeddings(gallery.ids[rows], np.asarray(gallery.vectors[rows]), gallery.provenance)
    found = reference.vote(some, votes, confidence, "gallery")
    labels, sure = np.full(len(gallery), -1, np.int64), np.zeros(len(gallery))
    labels[rows], sure[rows] = found
    return Votes(labels, sure)
