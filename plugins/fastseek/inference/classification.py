"""Model + images -> class probabilities: in memory for evaluation, on disk for whoever blends
them.
"""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from ..classification import class_numbers, evaluate
from ..classification.gate import NONE, SCORES, Gate, load_gate
from ..classification.predictions import Prediction, count_labels, predict, write_predictions
from ..config import recipe
from ..data.own_images import describe_embeddings, images_of
from ..errors import ArtefactError
from ..io.paths import PathLike
from ..modeling.build import build_model
from ..modeling.weight_files import fit_tensors, read_tensors
from ..registry import VIEWS, build
from ..report.predictions import PredictedImage, predictions_page
from ..structures import Embeddings, Item, Score
from ..structures.class_file import read_class_file
from ..structures.embedding_job import EmbeddingJob
from ..structures.embeddings_writer import Batches, store, store_part
from ..structures.job_part import ALL, JobPart
from ..views._embedding import Seen, all_views
from . import embedding
from .embed_images import classes_beside, with_classes
from .embed_parts.part_choice import describe_part
from .model_protocols import as_classifier
from .settings import class_settings, embedding_settings

SHOWN = 200  # images on the page: more make it slow to open


def classifier(cfg: Any, model: nn.Module) -> Callable[[Seen], torch.Tensor]:
    """The function images [B, 3, H, W], or a batch dict with them, -> probabilities [B, C] float32.

    They are over all views of the recipe; SEEK.VOTE says whether the views' probabilities are
    averaged, or their logits before the softmax.

    Raises:
        UsageError: the model is no Seeker, or SEEK.VOTE is unknown.
    """
    logits = as_classifier(model).logits
    views = [build(call, VIEWS) for call in embedding_settings(cfg).views]
    by_logits = class_settings(cfg).vote == "logits"

    def vote(images: Seen) -> torch.Tensor:
        found = [logits(seen).float() for seen in all_views(images, views)]
        # Softmax is not linear: the two means differ where views disagree.
        if by_logits:
            return torch.stack(found).mean(dim=0).softmax(dim=1)
        return torch.stack([one.softmax(dim=1) for one in found]).mean(dim=0)

    return vote


def figures(cfg: Any, probabilities: np.ndarray, items: Sequence[Item]) -> list[Score]:
    """Score the probabilities [N, C] of N images by SEEK.CLASS_METRICS.

    Raises:
        DataError: no image is of a class the model knows.
        ArtefactError: the names of the model's classes are unknown.
    """
    labels, counts = classes_of(cfg)
    return evaluate(
        probabilities,
        class_numbers([item.label for item in items], labels),
        counts,
        class_settings(cfg).metrics,
    )


def classes_of(cfg: Any) -> tuple[list[str], np.ndarray]:
    """The labels and training images of a model's classes, from SEEK.CLASSES.

    Raises:
        ArtefactError: the model was built without them, or the file holds something else.
    """
    file = class_settings(cfg).classes
    if not file:
        raise ArtefactError(
            "SEEK.CLASSES is empty, so the names of the classes are unknown: it is the classes.json"
            " beside the weights"
        )
    found = read_class_file(file)
    return found.labels, np.asarray(found.counts, np.int64)


def to_store(
    cfg: Any, model: nn.Module, items: Sequence[Item], folder: PathLike, root: str = ""
) -> Embeddings:
    """Class probabilities of items as a folder of shards: vectors [N, C], and the labels in the
    provenance's "classes".

    A killed run goes on where it stopped.

    Raises:
        ArtefactError: the folder holds the work of another model, or of other images.
    """
    return store(*job_of(cfg, model, items, root), folder)


def job_of(
    cfg: Any, model: nn.Module, items: Sequence[Item], root: str = "", what: str = "classifying"
) -> tuple[Batches, EmbeddingJob]:
    """What `store` and `store_part` are called with; the arguments are those of `to_store`."""
    made_by, source = describe_classifier(cfg, model, root), embedding.source_of(items)
    job = EmbeddingJob(len(items), made_by, source, dim=len(made_by["classes"]))
    return embedding.feed(cfg, model, items, classifier(cfg, model), what), job


def describe_classifier(cfg: Any, model: nn.Module, root: str = "") -> dict[str, Any]:
    """What made the probabilities: as `embedding.describe_model`, with the classes, their weights
    and the vote.
    """
    return embedding.describe_model(cfg, model, root) | {
        "kind": "probabilities",
        "vote": class_settings(cfg).vote,
        "classes": classes_of(cfg)[0],
        # Class weights shape no embedding, but every probability.
        "model": embedding.weights_hash(model, classes=True),
    }


def classify_images(
    config_file: PathLike,
    weights: PathLike,
    images: PathLike,
    out: PathLike,
    opts: Sequence[str] = (),
    gate: PathLike | None = None,
    part: JobPart = ALL,
) -> str:
    """Classify a folder or a list of images; a killed run goes on where it stopped.

    Args:
        config_file: the recipe the weights were trained with.
        weights: a checkpoint with its classes.json beside it.
        images: a folder, searched through, or a CSV or Parquet file.
        out: folder of the probabilities, and of predictions.csv, .json and .html.
        opts: KEY VALUE changes to the recipe.
        gate: the gate.json of `classify-report`; images it turns away are "none of these". All are
            of some class without one.
        part: which shards of the probabilities; whichever part ends last writes the predictions.

    Returns:
        a line telling how many images were classified, how many could not be read, and how many
        were turned away; or how many shards of other parts are missing.

    Raises:
        DataError: no images, no classes.json, or no gate in the file.
        ArtefactError: weights, recipe, gate and what is in `out` do not belong together.
    """
    items, root = images_of(images)
    cfg, model = load_classifier(recipe.load(config_file, opts), weights)
    # Before the work: a gate of another model must not be told after hours of it.
    chosen = None if gate is None else load_gate(gate, describe_classifier(cfg, model, root))
    work = job_of(cfg, model, items, root, f"classifying{part.suffix}")
    found = store_part(*work, out, part)
    if found is None:
        return describe_part(os.fspath(out), part)
    predictions = list(predict(found, chosen))
    write_predictions(pathlib.Path(out), predictions, chosen)
    _write_page(pathlib.Path(out), predictions, items, chosen)
    told = describe_embeddings(found, len(items), "classes", out)
    if chosen is None:
        return told
    away = sum(one.label == NONE for one in predictions)
    return f"{told}; {away} are {NONE} ({SCORES[chosen.by]} below {chosen.threshold:.3f})"


def _write_page(
    folder: pathlib.Path,
    predictions: Sequence[Prediction],
    items: Sequence[Item],
    gate: Gate | None,
) -> None:
    """Write predictions.html, with the images that the classifier is least sure of."""
    paths = {item.id: item.path for item in items}
    shown = [
        PredictedImage(
            one.image,
            one.label,
            one.confidence,
            paths[one.image],
            "" if one.label == one.nearest else one.nearest,
        )
        for one in sorted(predictions, key=lambda one: (one.confidence, one.image))[:SHOWN]
    ]
    facts = [("images", f"{len(predictions):,}")]
    if gate is not None:
        facts.append((NONE, f"a {SCORES[gate.by]} below {gate.threshold:.3f}"))
    predictions_page(
        folder / "predictions.html",
        "What the classifier says",
        shown,
        count_labels(predictions),
        facts,
    )


def load_classifier(cfg: Any, weights: PathLike) -> tuple[Any, nn.Module]:
    """A recipe's model with all its weights, those of the classes too, and the recipe with its
    SEEK.CLASSES.

    Raises:
        DataError: there is no classes.json beside the weights.
        ArtefactError: the weights do not fit the recipe, or were trained with other classes.
    """
    made = with_classes(cfg, classes_beside(weights, needed=True))
    model = build_model(made)
    fit_tensors(model, read_tensors(weights), str(weights), strict=True)
    return made, model.eval()
