"""Steps of a round that choose images: clusters, the choice among them, pseudo labels."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save

from ...classification import class_numbers
from ...errors import DataError
from ...io.atomic import atomic
from ...knn.align import rows_of
from ...self_training.cluster_selection import Limits, Selection, Verdict, select
from ...self_training.clustering import Clusters, cluster
from ...self_training.prototypes import floor, prototypes, similarity, taxonomy
from ...self_training.pseudo_labels import (
    PseudoLabelRule,
    PseudoLabels,
    count_changes,
    decide,
    mask_probabilities,
)
from ...self_training.quality import of_choice, of_clusters, of_labels
from ...self_training.seeded_clustering import recluster
from ...self_training.tables import write_table
from ...self_training.temperature import scale_probabilities, temperature
from ...structures import Embeddings, Score
from .context import Outcome, RoundContext, list_files, write_choice
from .spec import ClusterSpec, PseudoSpec, ReclusterSpec, SelectSpec, Share, given_values


def cluster_step(context: RoundContext, spec: ClusterSpec, folder: pathlib.Path) -> Outcome:
    """Cluster all images, the labelled ones among them."""
    found = context.features(spec.enhance)
    groups = context.groups(found.ids.tolist()) if spec.groups else None
    chosen = given_values(spec, "per", "method", "niter", "least")
    made = cluster(_array(found), groups, seed=context.seed, **chosen)
    return _write_clusters(context, folder, found, made)


def recluster_step(context: RoundContext, spec: ReclusterSpec, folder: pathlib.Path) -> Outcome:
    """Cluster around the classes: all images, or those a step has chosen and the labelled ones."""
    items = None
    if spec.images is not None:
        labelled = (item.id for item in context.images.labelled)
        items = {*context.read_choice(spec.images), *labelled}
    found = context.features(spec.enhance, items)
    ids = found.ids.tolist()
    groups = context.groups(ids) if spec.groups else None
    chosen = given_values(spec, "per", "niter")
    made = recluster(_array(found), context.labels(ids), groups, seed=context.seed, **chosen)
    return _write_clusters(context, folder, found, made)


def _array(found: Embeddings) -> np.ndarray:
    return np.asarray(found.vectors[:], np.float32)


def _write_clusters(
    context: RoundContext, folder: pathlib.Path, found: Embeddings, made: Clusters
) -> Outcome:
    Embeddings(found.ids, _array(found)).save(folder / "features")
    path = folder / f"round{context.number}.clusters.safetensors"
    with atomic(path) as file:
        file.write(save({"numbers": made.numbers, "centroids": made.centroids}))
    scores: list[Score] = []
    if context.images.measurable:
        scores = of_clusters(*context.number_unlabelled(found.ids, made.numbers))
    results = {"groups": made.groups, "names": made.names}
    return Outcome([path, *list_files(folder / "features")], scores, results)


def select_step(context: RoundContext, spec: SelectSpec, folder: pathlib.Path) -> Outcome:
    """Keep the clusters worth learning from, and write a verdict on every one."""
    stage = context.last["@clusters"]
    found = Embeddings.load(stage.folder / "features", verify=True)
    with safe_open(stage.path("round"), "np") as file:
        clusters = Clusters(
            file.get_tensor("numbers"),
            file.get_tensor("centroids"),
            tuple(stage.results["groups"]),
            tuple(stage.results["names"]),
        )
    keys = ("size", "compact", "margin", "purity", "labelled", "cap")
    limits = Limits(**given_values(spec, *keys))
    made = select(_array(found), clusters, context.labels(found.ids.tolist()), limits)
    names = {one.cluster: one.name or f"cluster {one.cluster:05d}" for one in made.kept}
    kept = {
        name: names[number]
        for name, number in zip(found.ids.tolist(), made.numbers.tolist(), strict=True)
        if number >= 0
    }
    report = folder / f"round{context.number}.verdicts.csv"
    write_table(report, made.verdicts, Verdict)
    choice = write_choice(folder / f"round{context.number}.choice.csv", kept)
    results = {"kept": len(made.kept), "clusters": len(clusters), "photos": len(kept)}
    scores = [
        _share("kept", len(kept), len(found)),
        *_measure_selection(context, found.ids, made, kept),
    ]
    return Outcome([choice, report], scores, results, _describe_none(len(kept), len(found), "kept"))


def _share(name: str, chosen: int, images: int) -> Score:
    """How many of the images a step has chosen, as a figure of its row."""
    return Score(name, chosen / images, None, {"images": images, name: chosen})


def _describe_none(chosen: int, images: int, what: str) -> str:
    """What is to be told of a step that has chosen nothing."""
    return "" if chosen else f"none of {images} images is {what}: loosen the rules that choose"


def _measure_selection(
    context: RoundContext, ids: np.ndarray, made: Selection, kept: Mapping[str, str]
) -> list[Score]:
    images = context.images
    if not images.measurable:
        return []
    numbers, truth = context.number_unlabelled(ids, made.numbers)
    known = set(images.classes)
    scores = [*of_clusters(numbers, truth), *of_choice(numbers >= 0, truth, known)]
    labels = [kept.get(item.id, "") for item in images.unlabelled]
    if known & set(labels):
        scores += of_labels([label if label in known else "" for label in labels], truth, known)
    return scores


def pseudo_step(context: RoundContext, spec: PseudoSpec, folder: pathlib.Path) -> Outcome:
    """Decide which predictions of the last `classify` may teach, and write down where every label
    comes from.
    """
    stage = context.last["@classify"]
    found, names, heat = _predictions(context, spec, stage.folder)
    counts = np.bincount(_labelled_numbers(context, names), minlength=len(names))
    ids, number = found.ids, context.number
    near, least = _nearness(context, spec, found, names)
    rule = PseudoLabelRule(
        threshold=_of_round(spec.threshold, number),
        quantile=_of_round(spec.quantile, number) or None,
        cap=spec.cap,
    )
    classes, sure, why = decide(_array(found), counts, rule, near, least)
    made = PseudoLabels(
        ids=ids,
        labels=np.asarray(names, str)[classes],
        confidence=sure,
        similarity=np.full(len(sure), np.nan, np.float32) if near is None else near,
        why=why,
        number=number,
        model=stage.results["model"],
    )
    path = folder / f"round{number}.pseudo.csv"
    made.save(path)
    accepted = int(made.accepted.sum())
    results: dict[str, Any] = {"temperature": heat, "accepted": accepted}
    results |= {} if near is None else {"floor": least}
    if "@pseudo" in context.last:
        before = PseudoLabels.load(context.last["@pseudo"].path("round"))
        results["changed"] = count_changes(before, made)
    scores = [_share("labelled", accepted, len(ids)), *_measure_labels(context, made)]
    return Outcome([path], scores, results, _describe_none(accepted, len(ids), "labelled"))


def _predictions(
    context: RoundContext, spec: PseudoSpec, folder: pathlib.Path
) -> tuple[Embeddings, list[str], float]:
    """Probabilities of the unlabelled images, calibrated and masked, the classes, and the
    temperature.
    """
    parts = ("unlabelled", "validation")
    found, validation = (Embeddings.load(folder / name, verify=True) for name in parts)
    names, table, heat = list(found.provenance["classes"]), _array(found), 1.0
    if spec.calibrate:
        labels = {item.id: item.label for item in context.images.validation}
        truth = class_numbers([labels[name] for name in validation.ids.tolist()], names)
        heat = temperature(_array(validation), truth)
        table = scale_probabilities(table, heat)
    if spec.groups:
        numbers = _labelled_numbers(context, names)
        own = [item.group for item in context.images.labelled if item.label in set(names)]
        legal = taxonomy(numbers, own, len(names))
        table = mask_probabilities(table, context.groups(found.ids.tolist()), legal)
    return Embeddings(found.ids, table), names, heat


def _labelled_numbers(context: RoundContext, names: Sequence[str]) -> np.ndarray:
    """Class numbers of the labelled images of the model's classes."""
    known = set(names)
    labels = [item.label for item in context.images.labelled if item.label in known]
    return class_numbers(labels, names)


def _of_round(value: Share, number: int) -> float:
    """What holds in a round: the last value of a list holds on."""
    return value[min(number, len(value)) - 1] if isinstance(value, tuple) else value


def _nearness(
    context: RoundContext, spec: PseudoSpec, probabilities: Embeddings, names: Sequence[str]
) -> tuple[np.ndarray | None, float]:
    """The cosines of images to the prototype of their most probable class, and the least that will
    do.
    """
    if not spec.prototype:
        return None, -np.inf
    found, ids = context.features(), probabilities.ids
    rows = rows_of(ids, found.ids)
    if (rows < 0).any():
        name = str(ids[int((rows < 0).argmax())])
        raise DataError(
            f"{name!r} was classified, and has no vector: see rejects.csv of the embed step"
        )
    numbers, vectors = class_numbers(context.labels(found.ids.tolist()), names), _array(found)
    inside = numbers >= 0
    centers = prototypes(vectors[inside], numbers[inside], len(names))
    near = similarity(vectors[rows], centers, _array(probabilities).argmax(axis=1))
    least = floor(vectors[inside], numbers[inside], spec.prototype)
    return near.astype(np.float32), least


def _measure_labels(context: RoundContext, made: PseudoLabels) -> list[Score]:
    images = context.images
    if not images.measurable:
        return []
    known, truth = set(images.classes), [images.truth[name] for name in made.ids.tolist()]
    labels = np.where(made.accepted, made.labels, "").tolist()
    return [*of_choice(made.accepted, truth, known), *of_labels(labels, truth, known)]
