"""What the rounds ask of models: train one, judge it, embed and classify with it."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...classification import class_numbers, evaluate
from ...config import recipe
from ...config.sources import Setting
from ...inference import classification, embedding
from ...io.digests import sha256
from ...self_training.prototypes import nearest_class, prototypes
from ...structures import Embeddings, Item, Score
from ...structures.splits import refuse_missing_queries
from ..plan.run import run_steps
from ..plan.spec import NONE, TAKEN, Plan, PlanStep, configs
from .images import ImagePools
from .steps import GrowStep

PROTOTYPE = "prototype top(1)"


@dataclasses.dataclass(frozen=True)
class Model:
    """A trained model.

    Args:
        weights: the file, classes.json beside it.
        config: its recipe.
        mark: SHA-256 of the weights.
    """

    weights: pathlib.Path
    config: pathlib.Path
    mark: str

    def open(self, settings: Sequence[Setting] = ()) -> tuple[Any, Any]:
        """The recipe, with changes, and the model, ready to embed and to classify."""
        return classification.load_classifier(recipe.load(self.config, (), settings), self.weights)


def train(
    step: GrowStep,
    manifest: pathlib.Path,
    source: Model | str,
    seed: int,
    opts: Sequence[Any],
    out: pathlib.Path,
) -> Model:
    """Train what a step wants in `out`/<its name>, go on with it, or find it trained.

    Args:
        step: the step.
        manifest: the photos.
        source: a model, a weight file, or "none" for what the backbone brings.
        seed: of the plan; the step's own settings stand above it.
        opts: KEY VALUE pairs above all.
        out: the folder of the round.

    Raises:
        FastSeekError: as a training.
    """
    own = [
        Setting("SEED", seed, step.where, 0),
        *step.settings,
        Setting("DATASETS.NAMES", (f"manifest({str(manifest)!r})",), step.where, 0),
        Setting("DATASETS.TESTS", (), step.where, 0),
    ]
    weights = str(source.weights) if isinstance(source, Model) else source
    one = PlanStep(
        step.name,
        step.recipe,
        tuple(own),
        weights,
        "final",
        tuple(step.values.get("DROP", ())),
        "" if weights == NONE else "some",
        step.where,
    )
    plan = Plan(step.where, step.name, (one,))
    made = run_steps(plan, configs(plan, opts), out)
    return Model(made.weights, made.config, sha256(made.weights))


def latest_training(folder: pathlib.Path) -> Model:
    """The model of a finished training."""
    weights = folder / TAKEN["final"]
    return Model(weights, folder / "config.yaml", sha256(weights))


def judge_model(model: Model, photos: ImagePools, figures: Sequence[str]) -> list[Score]:
    """Figures of a model over the validation photos.

    The recipe's figures are there when the model has all of their classes. PROTOTYPE, whose class
    mean among the labelled photos is the nearest, can be had of every model, also of one that was
    trained on clusters.

    Raises:
        DataError: a validation photo cannot be read.
    """
    cfg, net = model.open()
    names, counts = classification.classes_of(cfg)
    asked = [item.label for item in photos.validation]
    vectors, probabilities = _both(cfg, net, photos.validation, set(asked) <= set(names))
    scores = (
        []
        if probabilities is None
        else evaluate(probabilities, class_numbers(asked, names), counts, figures)
    )
    rows, known, _ = embedding.in_memory(cfg, net, photos.labelled)
    numbers = class_numbers([photos.labelled[row].label for row in rows], photos.classes)
    near = nearest_class(vectors, prototypes(known, numbers, len(photos.classes)))
    found = evaluate(
        near,
        class_numbers(asked, photos.classes),
        np.bincount(numbers, minlength=len(photos.classes)),
        ["top(1)"],
    )[0]
    return [*scores, dataclasses.replace(found, name=PROTOTYPE)]


def _both(
    cfg: Any, net: Any, items: Sequence[Item], classed: bool
) -> tuple[np.ndarray, np.ndarray | None]:
    rows, vectors, rejects = embedding.in_memory(cfg, net, items)
    refuse_missing_queries(items, rows, rejects)
    return vectors, embedding.in_memory(cfg, net, items, classification.classifier(cfg, net))[
        1
    ] if classed else None


def embed_images_of(
    model: Model, settings: Sequence[Setting], items: Sequence[Item], folder: pathlib.Path
) -> Embeddings:
    """Vectors of items in a folder; a killed run goes on, those of another model are replaced."""
    cfg, net = model.open(settings)
    return embedding.to_store(cfg, net, items, folder, replace=True)


def classify_images_of(
    model: Model, settings: Sequence[Setting], items: Sequence[Item], folder: pathlib.Path
) -> Embeddings:
    """Class probabilities of items in a folder; `folder` must be free of those of another model."""
    cfg, net = model.open(settings)
    return classification.to_store(cfg, net, items, folder)
