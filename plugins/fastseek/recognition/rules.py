"""Rules of other recognition contests' winners, beside those of 2021; off unless they are asked
for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..errors import UsageError
from ..knn.align import rows_of
from ..knn.nearest import nearest
from ..structures import Embeddings
from ..structures.provenance import check_same_model
from .knn_vote import Reference, pick_labels
from .predict import Predictions


def ban_frequent(predictions: Predictions, most: int = 20, rule: str = "below") -> Predictions:
    """Take landmarks that are predicted too often for none: real ones are rare in a test set.

    Args:
        predictions: one a query.
        most: how often a landmark may be predicted.
        rule: "below" puts the predictions of the others below all that stay, in the order they had
            (Google Landmark Recognition 2020, second place, with 20); "count" gives them the score
            -count (2019, third place, with 30).

    Returns:
        the same ids and labels; what is passed in stays.

    Raises:
        UsageError: most below 1, or an unknown rule.
    """
    if most < 1 or rule not in ("below", "count"):
        raise UsageError(
            f"most must be 1 or more and rule 'below' or 'count', got {most} and {rule!r}"
        )
    _, numbers, counts = np.unique(predictions.labels, return_inverse=True, return_counts=True)
    times = counts[numbers]
    scores, banned = predictions.scores.copy(), times > most
    if rule == "count":
        scores[banned] = -times[banned]
    elif banned.any() and not banned.all():
        scores[banned] -= max(0.0, scores[banned].max() - scores[~banned].min() + 1)
    return Predictions(predictions.ids, predictions.labels, scores)


class ClassifierRule(NamedTuple):
    """How neighbors and classifier are multiplied.

    Args:
        votes: how many of the nearest reference images count.
        cosine_power, class_power: powers of a neighbor's cosine and of the classifier's score.
        default: the classifier's score where it knows no such class, and its least.
    """

    votes: int = 5
    cosine_power: float = 9
    class_power: float = 10
    default: float = 1e-8


THIRD_PLACE_2020 = ClassifierRule()


def recognize_with_classifier(
    queries: Embeddings,
    reference: Embeddings,
    labels: Sequence[str],
    likely: np.ndarray,
    classes: Sequence[str],
    rule: ClassifierRule = THIRD_PLACE_2020,
) -> Predictions:
    """Name what a query shows by its neighbors and by its classifier, multiplied.

    score(label) = sum of cosine^9 over those of the 5 nearest reference images that have the label
    * p^10, where p is the classifier's mean score of the label's class, and 1e-8 where it knows no
    such class or p is lower (Google Landmark Recognition 2020, third place, who took cosines for
    p). Of equal scores the label of the nearer image is predicted.

    Args:
        queries, reference: of one model.
        labels: [R] one for every reference image.
        likely: [Q, C] what the classifiers say of every query and class, their mean.
        classes: [C] labels.
        rule: the numbers above.

    Raises:
        UsageError: shapes do not fit, or votes below 1.
        ArtefactError: queries and reference are of different models.
        DataError: a vector cannot be used.
    """
    check_same_model(queries, reference, "queries", "reference")
    likely = np.asarray(likely, np.float64)
    if likely.shape != (len(queries), len(classes)) or rule.votes < 1:
        raise UsageError(
            f"likely must be {(len(queries), len(classes))} and votes 1 or more, got {likely.shape}"
            f" and {rule.votes}"
        )
    known = Reference.from_labels(reference, np.asarray(labels, str))
    found = nearest(queries, reference, rule.votes, lowest=False)
    numbers, cosines = known.labels[found.rows], found.scores.astype(np.float64)
    # What points the other way votes against a label, whatever the power.
    powers = np.sign(cosines) * np.abs(cosines) ** rule.cosine_power
    columns = rows_of(known.classes, classes)[numbers]
    # Column -1, a class the classifier does not know, is the one that is padded.
    padded = np.pad(likely, ((0, 0), (0, 1)), constant_values=rule.default)
    chances = np.maximum(np.take_along_axis(padded, columns, axis=1), rule.default)
    # The classifier says the same of all voters of a label, so it may weigh each of them.
    winners, scores = pick_labels(numbers, powers * chances**rule.class_power)
    return Predictions(queries.ids, known.classes[winners], scores)
