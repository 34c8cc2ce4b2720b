"""Several models' embeddings, weighted, under one classifier that is fitted anew."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence

import numpy as np

from ..classification import class_numbers
from ..classification.refit import Refit
from ..errors import ArtefactError, DataError, UsageError
from ..io.atomic import check_apart
from ..io.paths import PathLike
from ..knn.align import rows_of
from ..structures import Embeddings
from ..structures.label_file import read_labels
from ..structures.provenance import check_same_model


@dataclasses.dataclass(frozen=True)
class Joined:
    """Models whose embeddings stand side by side.

    Args:
        test: for every model a folder of embeddings that are classified.
        train: for every model, in the same order, a folder the classifier learns from.
        labels: a CSV file id,label[,split] of the training images.
        weights: one a model; () for equal ones.
    """

    test: Sequence[PathLike]
    train: Sequence[PathLike]
    labels: PathLike
    weights: Sequence[float] = ()


def join_files(joined: Joined, out: PathLike) -> str:
    """Classify images by several models' embeddings; writes a folder of class probabilities.

    Args:
        joined: the models.
        out: the folder, as `fastseek classify` writes one.

    Returns:
        one line that tells what was done.

    Raises:
        UsageError: another number of folders or weights, or `out` is an input.
        ArtefactError: a folder was changed, or is of other images or another model.
        DataError: no training image has a label.
    """
    _check(joined)
    check_apart(out, [*joined.test, *joined.train, joined.labels])
    train, test = (_load(folders) for folders in (joined.train, joined.test))
    for taught, asked in zip(train, test, strict=True):
        check_same_model(asked, taught, "the embeddings", "training embeddings")
    names = _common_ids(train, joined.train)
    labels = read_labels(joined.labels, "train", allow_empty=True)
    known = [name for name in names.tolist() if labels.get(name)]
    if not known:
        raise DataError(f"{joined.labels}: none of {len(names)} training images has a label")
    classes = sorted({labels[name] for name in known})
    targets = class_numbers([labels[name] for name in known], classes)
    head = Refit(joined.weights or None).fit(_rows(train, np.array(known)), targets)
    ids = _common_ids(test, joined.test)
    table = head(_rows(test, ids), len(classes))
    members = [dict(one.provenance) for one in test]
    weights = list(joined.weights) or [1.0] * len(members)
    told = {"weights": weights, "members": members, "images": len(known)}
    Embeddings(ids, table, {"kind": "probabilities", "classes": classes, "joined": told}).save(out)
    lost = len(names) - len(known)
    rest = f"; {lost} training images have no label and are left out" if lost else ""
    return (
        f"{len(members)} models side by side, {len(classes)} classes of {len(known)} images;"
        f" {len(ids)} images -> {pathlib.Path(out)}{rest}"
    )


def _check(joined: Joined) -> None:
    counts = {len(joined.test), len(joined.train), len(joined.weights) or len(joined.test)}
    if len(counts) > 1:
        raise UsageError(
            f"{len(joined.test)} folders of --embeddings, {len(joined.train)} of --train and"
            f" {len(joined.weights)} weights: one of each for every model, in one order"
        )


def _load(folders: Sequence[PathLike]) -> list[Embeddings]:
    return [Embeddings.load(folder, verify=True) for folder in folders]


def _common_ids(members: Sequence[Embeddings], folders: Sequence[PathLike]) -> np.ndarray:
    """The ids of the first member, which the others must have too."""
    first = members[0].ids
    for member, folder in zip(members, folders, strict=True):
        missing = np.setdiff1d(first, member.ids)
        if len(missing) or len(member) != len(first):
            name = str((missing if len(missing) else np.setdiff1d(member.ids, first))[0])
            raise ArtefactError(f"{folder}: other images than {folders[0]}, such as {name!r}")
    return first


def _rows(members: Sequence[Embeddings], ids: np.ndarray) -> list[np.ndarray]:
    """Every member's vectors [N, D_m] of some images."""
    return [
        np.asarray(member.vectors[:], np.float32)[rows_of(ids, member.ids)] for member in members
    ]
