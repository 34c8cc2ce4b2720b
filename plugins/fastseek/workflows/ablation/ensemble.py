"""What the classifiers of an ablation predict, and ensembles of several under one classifier."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Self

import numpy as np
from torch import nn

from ...classification import class_numbers
from ...classification.refit import Refit
from ...data.fastreid_datasets import resolve
from ...errors import ArtefactError
from ...inference import embedding
from ...inference.classification import classes_of, classifier
from ...inference.evaluation import name_rejects
from ...io.paths import PathLike
from ...structures import Item, with_split
from ...structures.archive import load_npz, save_npz
from ...structures.splits import refuse_missing_queries, select_split

from fastreid.config import CfgNode

CLASSIFIED, EMBEDDED = "classified.npz", "embedded.npz"  # file names in the folder of an answer


@dataclasses.dataclass(frozen=True, eq=False)
class _NpzArrays:
    """Arrays that lie in one .npz file, each under its field's name."""

    def save(self, path: PathLike) -> None:
        """Write an .npz file."""
        save_npz(path, self, [field.name for field in dataclasses.fields(self)], {})

    @classmethod
    def load(cls, path: PathLike) -> Self:
        """Read what `save` wrote.

        Raises:
            DataError: it is missing or another file. ArtefactError: it is damaged.
        """
        return cls(**load_npz(path, [field.name for field in dataclasses.fields(cls)])[0])


@dataclasses.dataclass(frozen=True, eq=False)
class ClassProbabilities(_NpzArrays):
    """What a classifier says of the test images.

    Args:
        probabilities: [Q, C] float32.
        truth: [Q] int64, the class of every image, -1 for none the model knows.
        counts: [C] int64, training images of every class.
    """

    probabilities: np.ndarray
    truth: np.ndarray
    counts: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class SplitEmbeddings(_NpzArrays):
    """What a model makes of both splits.

    Args:
        train: [N, D] float32, of the training images that can be read.
        targets: [N] int64, their classes.
        test: [Q, D] float32, of the test images.
    """

    train: np.ndarray
    targets: np.ndarray
    test: np.ndarray


def classify_step(cfg: CfgNode, model: nn.Module) -> ClassProbabilities:
    """Classify the query images of the recipe's first test set.

    Args:
        cfg: a recipe with SEEK.CLASSES.
        model: its model, which classifies.

    Raises:
        DataError: an image cannot be read, or there is none.
    """
    queries = _queries(cfg)
    rows, probabilities, rejects = embedding.in_memory(cfg, model, queries, classifier(cfg, model))
    refuse_missing_queries(queries, rows, rejects)
    labels, counts = classes_of(cfg)
    truth = class_numbers([item.label for item in queries], labels)
    return ClassProbabilities(probabilities, truth, counts)


def embed_step(cfg: CfgNode, model: nn.Module, folder: pathlib.Path) -> SplitEmbeddings:
    """Embed the training images that can be read, without augmentation, and the query images; the
    folder's rejects.csv names the others.

    Raises:
        DataError: a query image cannot be read, or there is none.
    """
    train, queries = _trained_on(cfg), _queries(cfg)
    labels, _ = classes_of(cfg)
    rows, vectors, rejects = embedding.in_memory(cfg, model, [*train, *queries])
    name_rejects(folder, rejects)
    refuse_missing_queries(queries, rows[rows >= len(train)] - len(train), rejects)
    inside = rows < len(train)
    targets = class_numbers([train[row].label for row in rows[inside]], labels)
    return SplitEmbeddings(vectors[inside], targets, vectors[~inside])


def join_members(members: Sequence[tuple[pathlib.Path, float]]) -> ClassProbabilities:
    """Several models' weighted embeddings under one classifier fitted anew on the training images.

    Args:
        members: folders with classified.npz and embedded.npz, and their weights.

    Raises:
        ArtefactError: they are of different images or classes.
    """
    folders, weights = [folder for folder, _ in members], [weight for _, weight in members]
    first = ClassProbabilities.load(folders[0] / CLASSIFIED)
    parts = [SplitEmbeddings.load(folder / EMBEDDED) for folder in folders]
    targets = parts[0].targets
    if any(not np.array_equal(part.targets, targets) for part in parts):
        raise ArtefactError(
            f"{folders[0].name} and the other members of an ensemble were trained on other"
            " images or classes, or not the same ones could be read"
        )
    head = Refit(weights).fit([part.train for part in parts], targets)
    probabilities = head([part.test for part in parts], len(first.counts))
    return ClassProbabilities(probabilities, first.truth, first.counts)


def _queries(cfg: CfgNode) -> Sequence[Item]:
    name = cfg.DATASETS.TESTS[0]
    items = resolve(name, combine_all=cfg.DATASETS.COMBINEALL)
    return select_split(items, "query", name)


def _trained_on(cfg: CfgNode) -> list[Item]:
    found = [resolve(name, combine_all=cfg.DATASETS.COMBINEALL) for name in cfg.DATASETS.NAMES]
    return [item for items in found for item in with_split(items, "train")]
