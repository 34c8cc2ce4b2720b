"""What images show: one label and a score for every query, as a submission."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..enhance._concatenated import concatenate
from ..errors import ArtefactError, UsageError
from ..formats.gldv2 import Recognition, write_recognition
from ..io.atomic import check_writable
from ..io.paths import PathLike
from ..knn.align import rows_of
from ..recognition.knn_vote import look_up_labels
from ..recognition.labels import read_landmarks
from ..recognition.predict import Predictions, RecognitionInput, recognize
from ..recognition.rules import recognize_with_classifier
from ..structures import Embeddings


def recognize_files(
    queries: Sequence[PathLike],
    reference: Sequence[PathLike],
    labels: PathLike,
    non_landmarks: Sequence[PathLike],
    out: PathLike,
    **settings: int,
) -> str:
    """Name what every query shows and write a recognition submission (id,landmarks).

    Args:
        queries, reference, non_landmarks: embeddings, one a model, the models in the same order.
        labels: a CSV file with the columns id and landmark_id (or label, whole numbers) of the
            reference.
        out: the submission.
        settings: as for `recognize`.

    Returns:
        one line that tells what was done.

    Raises:
        UsageError, ArtefactError, DataError: as for `recognize`; UsageError also for an `out` that
            cannot be written or is an input, ArtefactError for a changed byte, DataError for a
            label that is no whole number.
    """
    if not len(queries) == len(reference) == len(non_landmarks):
        raise UsageError(
            f"{len(queries)} queries, {len(reference)} references and {len(non_landmarks)} sets"
            " without landmarks: name all three of every model"
        )
    check_writable(out, [*queries, *reference, *non_landmarks, labels])
    opened = [_open_sides(side) for side in (queries, reference, non_landmarks)]
    members = [RecognitionInput(*three) for three in zip(*opened, strict=True)]
    known = [
        label for one in members[:1] for label in _read_labels(labels, one.reference, reference[0])
    ]
    return _write(out, recognize(members, known, **settings))


def recognize_classified_files(
    queries: Sequence[PathLike],
    reference: Sequence[PathLike],
    labels: PathLike,
    class_scores: Sequence[PathLike],
    out: PathLike,
) -> str:
    """Name what every query shows by neighbours times classifier and write a submission.

    Args:
        queries, reference: embeddings, one a model, the models in the same order; those of several
            models stand side by side.
        labels: as for `recognize_files`.
        class_scores: class probabilities of the queries, as `classify` writes them, one a
            classifier; their mean counts.
        out: the submission.

    Returns:
        one line that tells what was done.

    Raises:
        UsageError, ArtefactError, DataError: as for `recognize_files`; ArtefactError also for class
            scores of other images or other classes.
    """
    if not class_scores or not len(queries) == len(reference) > 0:
        raise UsageError(
            f"{len(queries)} queries, {len(reference)} references and {len(class_scores)} class"
            " scores: name queries and reference of every model, and at least one classifier's"
        )
    check_writable(out, [*queries, *reference, *class_scores, labels])
    asked, found = (
        concatenate(_open_sides(side), names=[str(path) for path in side])
        for side in (queries, reference)
    )
    known = _read_labels(labels, found, reference[0])
    classes, likely = _mean_scores(class_scores, asked)
    return _write(out, recognize_with_classifier(asked, found, known, likely, classes))


def _open_sides(paths: Sequence[PathLike]) -> list[Embeddings]:
    return [Embeddings.load(path, verify=True) for path in paths]


def _read_labels(labels: PathLike, reference: Embeddings, folder: PathLike) -> list[str]:
    """The landmark [R] of every reference image, as text."""
    known = {name: str(number) for name, number in read_landmarks(labels).items()}
    found: list[str] = look_up_labels(reference, known, labels, folder).tolist()
    return found


def _mean_scores(paths: Sequence[PathLike], queries: Embeddings) -> tuple[list[str], np.ndarray]:
    """The classes [C] and the mean [Q, C] of what the classifiers say of every query."""
    classes: list[str] = []
    total = np.zeros((0, 0))
    for path in paths:
        scores = Embeddings.load(path, verify=True)
        own = list(scores.provenance.get("classes", []))
        rows = rows_of(queries.ids, scores.ids)
        if (rows < 0).any():
            missing = str(queries.ids[int((rows < 0).argmax())])
            raise ArtefactError(f"{path}: no class scores of query {missing!r}: classify it too")
        if len(own) != scores.dim or classes and own != classes:
            raise ArtefactError(
                f"{path}: {scores.dim} columns and {len(own)} names of classes; expected those of"
                f" {paths[0]}, as classify writes them"
            )
        values = np.asarray(scores.vectors[:], np.float64)[rows]
        total = total + values if classes else values
        classes = own
    return classes, total / len(paths)


def _write(out: PathLike, predictions: Predictions) -> str:
    landmarks = predictions.labels.astype(np.int64)
    write_recognition(
        out, Recognition(predictions.ids, landmarks, predictions.scores), predictions.ids.tolist()
    )
    return f"{len(predictions.ids)} queries, {len(np.unique(landmarks))} landmarks: {out}"
