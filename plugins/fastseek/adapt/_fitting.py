"""Labeled vectors to an adapter, with what it was judged to do."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from ..enhance._fits import Fit
from ..errors import DataError, RunError, UsageError
from ..io.file_kinds import check_written_over
from ..io.paths import PathLike
from ..knn.vectors import check_vectors
from ..registry import ADAPTERS, Adapter, build
from ..structures import Embeddings
from ._folds import draw_classes, make_folds
from ._judgement import HARMS, Judgement, describe_unfit, judge
from ._trials import try_candidates

BLENDS = (0.25, 0.5, 0.75, 1.0)
METHODS = ("lda()", "ridge()")
MOST = 20_000  # images that are judged by; more are drawn by whole classes
ROWS = 8192  # vectors read at once


@dataclasses.dataclass(frozen=True)
class Trying:
    """How adapters are tried.

    Args:
        methods: call strings of ADAPTERS; the best is taken.
        blend: share of the layer, above 0 to 1; the best of BLENDS when None.
        folds: parts of the classes, each left out once; 0 to judge nothing.
        seed: of the folds.
    """

    methods: tuple[str, ...] = METHODS
    blend: float | None = None
    folds: int = 3
    seed: int = 0


@dataclasses.dataclass(frozen=True, eq=False)
class Adapted:
    """A fitted adapter.

    Args:
        fit: what `adapter(file)` loads once it is saved.
        judgement: what it was found to do; None where nothing was judged.
        images, classes: how many it was fitted on.
        singles: classes with one image.
    """

    fit: Fit
    judgement: Judgement | None
    images: int
    classes: int
    singles: int

    def save(self, path: PathLike, force: bool = False) -> None:
        """Write the .safetensors file that `adapter(file)` applies.

        Args:
            path: the file.
            force: whether a file that is no adapter is replaced, too.

        Raises:
            UsageError: a file of another kind is there.
        """
        check_written_over(path, "adapter", force)
        self.fit.save(path)


def fit_adapter(
    embeddings: Embeddings, labels: Mapping[str, str], trying: Trying | None = None
) -> Adapted:
    """Fit an adapter and judge it on classes it was not fitted on.

    The vectors of all labeled images are held in memory, float32. The order of the rows changes
    nothing.

    Args:
        embeddings: of a frozen model.
        labels: image id -> class; images without one are left out.
        trying: how; the default when None.

    Raises:
        DataError: fewer than two classes, too few to be judged, or a vector that is zero or not
            finite. UsageError: a call string or a blend is wrong.
    """
    trying = trying or Trying()
    methods = _build_methods(trying)
    vectors, names = _pick_labeled(embeddings, labels)
    known, classes = np.unique(names, return_inverse=True)
    if len(known) < 2:
        raise DataError(
            f"the labels of the {len(vectors)} labeled images name {len(known)} class: an adapter"
            " tells classes apart, so name two or more"
        )
    judgement = _judge(vectors, classes, methods, trying) if trying.folds else None
    call, blend = judgement.candidate if judgement else (methods[0].call, trying.blend or 1.0)
    method = next(one for one in methods if one.call == call)
    mean, directions = method(vectors, classes)
    _check_finite(call, mean, directions)
    provenance = {
        "rows": len(vectors),
        "source": {"enhance": [], **embeddings.provenance},
        "classes": len(known),
        "method": call,
        "judged": judgement.to_json() if judgement else None,
    }
    arrays = {"mean": mean, "directions": directions, "blend": np.array([blend])}
    fit = Fit("adapter", arrays, provenance)
    return Adapted(fit, judgement, len(vectors), len(known), int((np.bincount(classes) == 1).sum()))


def check_harmless(adapted: Adapted) -> None:
    """Check that an adapter was judged on classes it was not fitted on, and not found to harm.

    Raises:
        RunError: it was not, or does.
    """
    judgement = adapted.judgement
    if judgement is None:
        raise RunError(
            "the adapter was not judged on classes it was not fitted on (folds 0): nothing was"
            " written; say --force to write it all the same"
        )
    if judgement.verdict != HARMS:
        return
    told = ", ".join(
        f"{one.group} classes, {one.metric} {one.before:.3f} -> {one.after:.3f}"
        for one in judgement.changes
        if one.gain < 0
    )
    left_out = "".join(f"; {line}" for line in describe_unfit(judgement))
    raise RunError(
        f"the adapter harms ({told}): nothing was written; try other methods, label more images, or"
        f" say --force to write it all the same{left_out}"
    )


def _build_methods(trying: Trying) -> list[Adapter]:
    if trying.blend is not None and not 0 < trying.blend <= 1:
        raise UsageError(f"blend must be above 0 and at most 1, got {trying.blend}")
    if trying.folds < 0 or trying.folds == 1:
        raise UsageError(f"folds must be 2 or more, or 0 to judge nothing, got {trying.folds}")
    if trying.seed < 0:
        raise UsageError(f"seed must be 0 or more, got {trying.seed}")
    methods = {method.call: method for method in (build(one, ADAPTERS) for one in trying.methods)}
    if not trying.folds and len(methods) > 1:
        raise UsageError(
            f"{len(methods)} methods and no folds to judge them by: name one method, or give folds"
        )
    return list(methods.values())


def _pick_labeled(
    embeddings: Embeddings, labels: Mapping[str, str]
) -> tuple[np.ndarray, np.ndarray]:
    """Vectors float32 [N, D] of length 1 and labels [N] of the labeled images, in the order of
    their ids.
    """
    names = np.array([labels.get(name, "") for name in embeddings.ids.tolist()], str)
    rows = np.flatnonzero(names != "")
    if not len(rows):
        raise DataError(
            f"none of the {len(embeddings)} images has a label: the ids of the labels must be those"
            f" of the embeddings, such as {str(embeddings.ids[0])!r}"
            if len(embeddings)
            else "there are no vectors to fit on"
        )
    rows = rows[np.argsort(embeddings.ids[rows], kind="stable")]
    vectors = np.empty((len(rows), embeddings.dim), np.float32)
    for start in range(0, len(rows), ROWS):
        here = rows[start : start + ROWS]
        part = Embeddings(embeddings.ids[here], embeddings.vectors[here])
        vectors[start : start + len(here)] = check_vectors(part, slice(None), "cosine")
    return vectors, names[rows]


def _judge(
    vectors: np.ndarray, classes: np.ndarray, methods: Sequence[Adapter], trying: Trying
) -> Judgement:
    rows = draw_classes(classes, MOST, trying.seed)
    numbers = np.unique(classes[rows], return_inverse=True)[1]
    folds = make_folds(numbers, trying.folds, trying.seed)
    blends = BLENDS if trying.blend is None else (trying.blend,)
    return judge(try_candidates(vectors[rows], numbers, folds, methods, blends), trying.seed)


def _check_finite(call: str, mean: np.ndarray, directions: np.ndarray) -> None:
    dim = mean.shape[-1]
    if directions.ndim != 2 or directions.shape[1] != dim or not len(directions):
        raise RunError(f"{call} gave directions {directions.shape} for vectors of {dim} dimensions")
    if not (np.isfinite(mean).all() and np.isfinite(directions).all()):
        raise RunError(f"{call} gave numbers that are not finite: change its arguments")
