"""What a classifier of an ablation said, and ensembles of several under one classifier."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from torch import nn

from ...classification import class_numbers
from ...classification.refit import Refit
from ...data.fastreid_datasets import resolve
from ...errors import ArtefactError
from ...inference import embedding
from ...inference.classification import classes_of, classifier
from ...io.paths import PathLike
from ...structures import Item, with_split
from ...structures.archive import load_npz, save_npz
from ...structures.splits import refuse_missing_queries, select_split


class _Kept:
    """Arrays that are kept in one .npz file."""

    def save(self, path: PathLike) -> None:
        """Write an .npz file."""
        save_npz(path, self, [field.name for field in dataclasses.fields(self)], {})

    @classmethod
    def load(cls, path: PathLike) -> Self:
        """Read what `save` wrote; raises DataError or ArtefactError for another file."""
        return cls(**load_npz(path, [field.name for field in dataclasses.fields(cls)])[0])


@dataclasses.dataclass(frozen=True, eq=False)
class Classified(_Kept):
    """Probabilities [Q, C] of the test photos, their classes int64 [Q], -1 for none, and training
    images [C].
    """

    probabilities: np.ndarray
    truth: np.ndarray
    counts: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Embedded(_Kept):
    """Embeddings of the training photos [N, D] with their classes int64 [N], and of the test photos
    [Q, D].
    """

    train: np.ndarray
    targets: np.ndarray
    test: np.ndarray


def classify_step(cfg: Any, model: nn.Module) -> Classified:
    """Classify the query photos of the recipe's first test set.

    Args:
        cfg: a recipe with SEEK.CLASSES.
        model: its model, which classifies.

    Raises:
        DataError: a photo cannot be read, or there is none.
    """
    queries = _queries(cfg)
    rows, probabilities, rejects = embedding.in_memory(cfg, model, queries, classifier(cfg, model))
    refuse_missing_queries(queries, rows, rejects)
    labels, counts = classes_of(cfg)
    return Classified(
        probabilities, class_numbers([item.label for item in queries], labels), counts
    )


def embed_step(cfg: Any, model: nn.Module) -> Embedded:
    """Embed the training photos that can be read, without augmentation, and the query photos.

    Raises:
        DataError: a query photo cannot be read, or there is none.
    """
    train, queries = _trained_on(cfg), _queries(cfg)
    labels, _ = classes_of(cfg)
    rows, vectors, rejects = embedding.in_memory(cfg, model, [*train, *queries])
    refuse_missing_queries(queries, rows[rows >= len(train)] - len(train), rejects)
    inside = rows < len(train)
    targets = class_numbers([train[row].label for row in rows[inside]], labels)
    return Embedded(vectors[inside], targets, vectors[~inside])


def join_members(members: Sequence[tuple[pathlib.Path, float]]) -> Classified:
    """Several models' weighted embeddings under one classifier fitted anew on the training photos.

    Args:
        members: folders with classified.npz and embedded.npz, and their weights.

    Raises:
        ArtefactError: they are of different photos or classes.
    """
    first = Classified.load(members[0][0] / "classified.npz")
    parts = [Embedded.load(folder / "embedded.npz") for folder, _ in members]
    if any(not np.array_equal(part.targets, parts[0].targets) for part in parts):
        raise ArtefactError(
            f"{members[0][0].name} and the other members of an ensemble were trained on other"
            " photos or classes, or not the same ones could be read"
        )
    head = Refit([weight for _, weight in members]).fit(
        [part.train for part in parts], parts[0].targets
    )
    return Classified(
        head([part.test for part in parts], len(first.counts)), first.truth, first.counts
    )


def _queries(cfg: Any) -> Sequence[Item]:
    name = cfg.DATASETS.TESTS[0]
    return select_split(resolve(name, cfg), "query", name)


def _trained_on(cfg: Any) -> list[Item]:
    return [item for name in cfg.DATASETS.NAMES for item in with_split(resolve(name, cfg), "train")]
