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
from ...inference.embed_parts.together import store_together
from ...inference.evaluation import name_rejects
from ...io.digests import sha256
from ...self_training.prototypes import nearest_class, prototypes
from ...structures import Embeddings, Item, Score
from ...structures.job_part import ALL, JobPart
from ...structures.splits import refuse_missing_queries
from ..plan.run import run_steps
from ..plan.spec import NONE, TAKEN, Plan, PlanStep, configs
from .images import ImagePools
from .spec import RoundStep, TrainSpec

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


@dataclasses.dataclass(frozen=True)
class Job:
    """One training.

    Args:
        step: the step it is of.
        manifest: the images.
        source: a model, a weight file, or "none" for what the backbone brings.
        seed: of the plan; the step's own settings stand above it.
        opts: KEY VALUE pairs above all.
    """

    step: RoundStep
    manifest: pathlib.Path
    source: Model | str
    seed: int
    opts: Sequence[Any]


def train(job: Job, out: pathlib.Path) -> Model:
    """Train what a step wants in `out`/<its name>, go on with it, or find it trained.

    Args:
        job: the training.
        out: the folder of the round.

    Raises:
        FastSeekError: as a training.
    """
    step, where = job.step, job.step.where
    own = [
        Setting("SEED", job.seed, where, 0),
        *step.settings,
        Setting("DATASETS.NAMES", (f"manifest({str(job.manifest)!r})",), where, 0),
        Setting("DATASETS.TESTS", (), where, 0),
    ]
    weights = str(job.source.weights) if isinstance(job.source, Model) else job.source
    one = PlanStep(
        name=step.name,
        recipe=step.recipe,
        settings=tuple(own),
        source=weights,
        take="final",
        drop=step.spec.drop if isinstance(step.spec, TrainSpec) else (),
        fit="" if weights == NONE else "some",
        where=where,
    )
    plan = Plan(where, step.name, (one,))
    made = run_steps(plan, configs(plan, job.opts), out)
    return Model(made.weights, made.config, sha256(made.weights))


def latest_training(folder: pathlib.Path) -> Model:
    """The model of a finished training."""
    weights = folder / TAKEN["final"]
    return Model(weights, folder / "config.yaml", sha256(weights))


def judge_model(model: Model, images: ImagePools, figures: Sequence[str]) -> list[Score]:
    """Figures of a model over the validation images.

    The recipe's figures are there when the model has all of their classes. PROTOTYPE, whose class
    mean among the labelled images is the nearest, can be had of every model, also of one that was
    trained on clusters.

    Raises:
        DataError: a validation image cannot be read.
    """
    cfg, net = model.open()
    names, counts = classification.classes_of(cfg)
    labels = [item.label for item in images.validation]
    scores: list[Score] = []
    if set(labels) <= set(names):
        classify = classification.classifier(cfg, net)
        probabilities = _of_every(cfg, net, images.validation, classify)
        scores = evaluate(probabilities, class_numbers(labels, names), counts, figures)
    vectors = _of_every(cfg, net, images.validation)
    rows, known, rejects = embedding.in_memory(cfg, net, images.labelled)
    name_rejects(model.config.parent, rejects)
    classes = images.classes
    numbers = class_numbers([images.labelled[row].label for row in rows], classes)
    near = nearest_class(vectors, prototypes(known, numbers, len(classes)))
    taught = np.bincount(numbers, minlength=len(classes))
    found = evaluate(near, class_numbers(labels, classes), taught, ["top(1)"])[0]
    return [*scores, dataclasses.replace(found, name=PROTOTYPE)]


def _of_every(
    cfg: Any, net: Any, items: Sequence[Item], function: embedding.Function | None = None
) -> np.ndarray:
    """What a function makes of images, each of which has to be readable."""
    rows, found, rejects = embedding.in_memory(cfg, net, items, function)
    refuse_missing_queries(items, rows, rejects)
    return found


def embed_images_of(
    model: Model,
    settings: Sequence[Setting],
    items: Sequence[Item],
    folder: pathlib.Path,
    part: JobPart = ALL,
) -> Embeddings:
    """Vectors of items in a folder; a killed run goes on, those of another model are replaced.

    Where this process does a part, it waits for the others.
    """
    cfg, net = model.open(settings)
    work = embedding.job_of(cfg, net, items, what=f"embedding{part.suffix}")
    return store_together(*work, folder, part, replace=True)


def classify_images_of(
    model: Model,
    settings: Sequence[Setting],
    items: Sequence[Item],
    folder: pathlib.Path,
    part: JobPart = ALL,
) -> Embeddings:
    """Class probabilities of items in a folder; `folder` must be free of those of another model.

    Where this process does a part, it waits for the others.
    """
    cfg, net = model.open(settings)
    work = classification.job_of(cfg, net, items, what=f"classifying{part.suffix}")
    return store_together(*work, folder, part)
