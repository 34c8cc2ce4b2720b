"""A gate before the classifier: images of no known class are turned away by a score, not by a class
"other".
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np

from ..errors import ArtefactError, DataError, UsageError
from ..io.json_files import read_json, write_json
from ..io.paths import PathLike

NONE = "none of these"  # the label of an image that is turned away
# How sure a classifier is of an image, and what a gate's file calls it; see `score_images`.
SCORES = {"probability": "largest probability", "margin": "margin", "entropy": "entropy"}
USUAL = "probability"
# What must be the same where a gate is fitted and where it is used, or its scores are others.
MADE_BY = ("model", "preprocessing", "views", "vote", "classes")


@dataclasses.dataclass(frozen=True)
class Gate:
    """Lets an image in when its score is at least `threshold`.

    Args:
        threshold: the least score.
        keep: the share of known images it was fitted to let in.
        by: which of SCORES.
    """

    threshold: float
    keep: float
    by: str = USUAL

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        """bool [N]: who is let in; a score that is not a number is turned away."""
        return np.asarray(scores, float) >= self.threshold


@dataclasses.dataclass(frozen=True)
class GateFigures:
    """How well a gate tells images that belong from those that do not.

    Args:
        inside: images of known classes, those it was fitted on.
        kept: the share of them that is let in.
        outside: images of no known class; 0 when there were none to look at.
        auroc: how often one that belongs scores above one that does not; None without outside.
        let_in: the share of the outside that is let in (the false positive rate); None without.
    """

    inside: int
    kept: float
    outside: int = 0
    auroc: float | None = None
    let_in: float | None = None


def score_images(probabilities: np.ndarray, by: str = USUAL) -> np.ndarray:
    """float32 [N]: how sure a classifier is of every row of [N, C]; larger is surer.

    Args:
        probabilities: of the classes.
        by: "probability", the largest one; "margin", by how much it is larger than the next;
            "entropy", 1 where one class has all, 0 where all classes have the same.
    """
    table = np.asarray(probabilities, np.float32)
    if table.shape[1] == 1 or by == "probability":
        sure: np.ndarray = table.max(axis=1)
        return sure
    if by == "margin":
        first, second = np.partition(table, (-2, -1), axis=1)[:, -2:].T[::-1]
        return first - second
    logs = np.log(np.maximum(table, np.finfo(np.float32).tiny))
    return 1 + (table * logs).sum(axis=1) / np.float32(math.log(table.shape[1]))


def fit_gate(scores: np.ndarray, keep: float = 0.95, by: str = USUAL) -> Gate:
    """The strictest gate that lets in at least the share `keep` of images that are known to belong.

    Args:
        scores: [N] of images of known classes that the model was not trained on: the largest
            probability, the cosine to the nearest class prototype, a detector's confidence. Larger
            is surer.
        keep: in (0, 1].
        by: which of SCORES they are, where they are of `score_images`.

    Raises:
        DataError: no finite score, or keep outside (0, 1].
    """
    check_share(keep)
    scores = np.sort(np.asarray(scores, float))
    if not len(scores) or not np.isfinite(scores).all():
        raise DataError(f"a gate needs finite scores, got {len(scores)} scores")
    # 0.07 as it is written: the nearest float times 100 is above 7.
    let_in = math.ceil(Fraction(str(float(keep))) * len(scores))
    # The least of the scores that must be let in, so that equal ones are let in too.
    return Gate(float(scores[len(scores) - let_in]), keep, by)


def check_share(keep: float) -> None:
    """A gate can be fitted to let in this share of the images that are known to belong.

    Raises:
        DataError: it is outside (0, 1].
    """
    if not 0 < keep <= 1:
        raise DataError(f"a gate needs a share in (0, 1], got {keep}")


def check_score(by: str) -> None:
    """A gate can be fitted on this score.

    Raises:
        UsageError: there is no such score.
    """
    if by not in SCORES:
        raise UsageError(f"a gate goes by {', '.join(SCORES)}, not by {by!r}")


def measure_gate(gate: Gate, inside: np.ndarray, outside: np.ndarray) -> GateFigures:
    """The figures of a gate over scores of images that belong and of images that do not, perhaps
    none of these.
    """
    kept = float(gate(inside).mean())
    if not len(outside):
        return GateFigures(len(inside), kept)
    return GateFigures(
        len(inside),
        kept,
        len(outside),
        separation(inside, outside),
        float(gate(outside).mean()),
    )


def separation(inside: np.ndarray, outside: np.ndarray) -> float:
    """Area under the ROC curve: how often an image that belongs scores above one that does not,
    ties counted half.

    Raises:
        DataError: one of the two is empty.
    """
    if not len(inside) or not len(outside):
        raise DataError("separation needs scores of images that belong and of images that do not")
    below = np.sort(outside)
    beaten = np.searchsorted(below, inside, "left") + np.searchsorted(below, inside, "right")
    return float(beaten.mean() / (2 * len(outside)))


def save_gate(
    path: PathLike, gate: Gate, figures: GateFigures, provenance: Mapping[str, Any]
) -> None:
    """Write a gate as JSON.

    Args:
        path: the file.
        gate: fitted on scores of `score_images`.
        figures: what it is worth.
        provenance: of the probabilities the scores are from.
    """
    write_json(
        path,
        {
            "score": SCORES[gate.by],
            "threshold": gate.threshold,
            "keep": gate.keep,
            "figures": dataclasses.asdict(figures),
            "fitted on": {key: provenance[key] for key in MADE_BY},
        },
    )


def load_gate(path: PathLike, provenance: Mapping[str, Any]) -> Gate:
    """Read a gate for probabilities of some provenance.

    Raises:
        DataError: there is no such file, or it holds no gate.
        ArtefactError: it was fitted on probabilities of another model, or made otherwise.
    """
    found = read_json(path)
    made_by = found.get("fitted on") if isinstance(found, dict) else None
    numbers = [found.get(key) for key in ("threshold", "keep")] if made_by else []
    if (
        not isinstance(made_by, dict)
        or found.get("score") not in SCORES.values()
        or not all(isinstance(number, int | float) for number in numbers)
    ):
        raise DataError(f"{path}: holds no gate; `fastseek classify-report` writes gate.json")
    differ = [key for key in MADE_BY if made_by.get(key) != provenance.get(key)]
    if differ:
        raise ArtefactError(
            f"{path}: fitted on probabilities with another {differ[0]}: make it anew with"
            " `fastseek classify-report` and this recipe and these weights"
        )
    by = next(name for name, told in SCORES.items() if told == found["score"])
    return Gate(float(numbers[0]), float(numbers[1]), by)
