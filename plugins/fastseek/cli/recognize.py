"""What images show: one label and a score for every query, as a submission."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import UsageError
from ..formats.gldv2 import Recognition, write_recognition
from ..io.atomic import check_writable
from ..io.paths import PathLike
from ..recognition.knn_vote import labels_of
from ..recognition.labels import read_landmarks
from ..recognition.predict import RecognitionInput, recognize
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
        settings: as for `recognise`.

    Returns:
        one line that tells what was done.

    Raises:
        UsageError, ArtefactError, DataError: as for `recognise`; UsageError also for an `out` that
            cannot be written or is an input, ArtefactError for a changed byte, DataError for a
            label that is no whole number.
    """
    if not len(queries) == len(reference) == len(non_landmarks):
        raise UsageError(
            f"{len(queries)} queries, {len(reference)} references and {len(non_landmarks)} sets"
            " without landmarks: name all three of every model"
        )
    check_writable(out, [*queries, *reference, *non_landmarks, labels])
    known = {name: str(number) for name, number in read_landmarks(labels).items()}
    opened = [
        [Embeddings.load(path, verify=True) for path in side]
        for side in (queries, reference, non_landmarks)
    ]
    members = [RecognitionInput(*three) for three in zip(*opened, strict=True)]
    names = [
        label
        for one in members[:1]
        for label in labels_of(one.reference, known, labels, reference[0])
    ]
    predictions = recognize(members, names, **settings)
    landmarks = predictions.labels.astype(np.int64)
    write_recognition(
        out, Recognition(predictions.ids, landmarks, predictions.scores), predictions.ids.tolist()
    )
    return f"{len(predictions.ids)} queries, {len(np.unique(landmarks))} landmarks: {out}"
