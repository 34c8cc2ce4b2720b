"""Steps of a round that choose photos: clusters, the choice among them, pseudo labels."""

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
from .context import RoundContext, Told, images_of_choice, write_choice
from .steps import GrowStep


def cluster_step(desk: RoundContext, step: GrowStep, folder: pathlib.Path) -> Told:
    """Cluster all photos, the labelled ones among them."""
    found = desk.features(step)
    made = cluster(
        _array(found),
        _groups(desk, step, found),
        seed=desk.seed,
        **images_of_choice(step, per="PER", method="METHOD", niter="NITER", least="LEAST"),
    )
    return _clusters(desk, folder, found, made)


def recluster_step(desk: RoundContext, step: GrowStep, folder: pathlib.Path) -> Told:
    """Cluster around the classes: all photos, or those a step has chosen and the labelled ones."""
    chosen = None
    if "PHOTOS" in step.values:
        chosen = {*desk.chosen(step.values["PHOTOS"]), *(item.id for item in desk.photos.labelled)}
    found = desk.features(step, chosen)
    made = recluster(
        _array(found),
        desk.labels(found.ids.tolist()),
        _groups(desk, step, found),
        seed=desk.seed,
        **images_of_choice(step, per="PER", niter="NITER"),
    )
    return _clusters(desk, folder, found, made)


def _array(found: Embeddings) -> np.ndarray:
    return np.asarray(found.vectors[:], np.float32)


def _groups(desk: RoundContext, step: GrowStep, found: Embeddings) -> list[str] | None:
    return desk.groups(found.ids.tolist()) if step.values.get("GROUPS", True) else None


def _clusters(desk: RoundContext, folder: pathlib.Path, found: Embeddings, made: Clusters) -> Told:
    Embeddings(found.ids, _array(found)).save(folder / "features")
    path = folder / f"round{desk.number}.clusters.safetensors"
    with atomic(path) as file:
        file.write(save({"numbers": made.numbers, "centroids": made.centroids}))
    scores = of_clusters(*desk.loose(found.ids, made.numbers)) if desk.photos.measurable else []
    return (
        [path, folder / "features" / "manifest.json"],
        scores,
        {"groups": made.groups, "names": made.names},
    )


def select_step(desk: RoundContext, step: GrowStep, folder: pathlib.Path) -> Told:
    """Keep the clusters worth learning from, and write a verdict on every one."""
    stage = desk.last["@clusters"]
    found = Embeddings.load(stage.folder / "features")
    with safe_open(stage.path("round"), "np") as file:
        clusters = Clusters(
            file.get_tensor("numbers"),
            file.get_tensor("centroids"),
            tuple(stage.results["groups"]),
            tuple(stage.results["names"]),
        )
    made = select(
        _array(found),
        clusters,
        desk.labels(found.ids.tolist()),
        Limits(
            tuple(step.values.get("SIZE", (10, 500))),
            **images_of_choice(
                step,
                compact="COMPACT",
                margin="MARGIN",
                purity="PURITY",
                labelled="LABELLED",
                cap="CAP",
            ),
        ),
    )
    names = {one.cluster: one.name or f"cluster {one.cluster:05d}" for one in made.kept}
    kept = {
        name: names[number]
        for name, number in zip(found.ids.tolist(), made.numbers.tolist(), strict=True)
        if number >= 0
    }
    report = folder / f"round{desk.number}.verdicts.csv"
    write_table(report, made.verdicts, Verdict)
    choice = write_choice(folder / f"round{desk.number}.choice.csv", kept)
    return (
        [choice, report],
        _quality(desk, found.ids, made, kept),
        {"kept": len(made.kept), "clusters": len(clusters), "photos": len(kept)},
    )


def _quality(
    desk: RoundContext, ids: np.ndarray, made: Selection, kept: Mapping[str, str]
) -> list[Score]:
    if not desk.photos.measurable:
        return []
    (numbers, truth), known = desk.loose(ids, made.numbers), set(desk.photos.classes)
    scores = [*of_clusters(numbers, truth), *of_choice(numbers >= 0, truth, known)]
    labels = [kept.get(item.id, "") for item in desk.photos.unlabelled]
    if known & set(labels):
        scores += of_labels([label if label in known else "" for label in labels], truth, known)
    return scores


def pseudo_step(desk: RoundContext, step: GrowStep, folder: pathlib.Path) -> Told:
    """Decide which predictions of the last `classify` may teach, and write down where every label
    comes from.
    """
    stage = desk.last["@classify"]
    loose, held = (Embeddings.load(stage.folder / name) for name in ("unlabelled", "validation"))
    names, table, heat = list(loose.provenance["classes"]), _array(loose), 1.0
    if step.values.get("CALIBRATE", True):
        asked = {item.id: item.label for item in desk.photos.validation}
        heat = temperature(
            _array(held), class_numbers([asked[name] for name in held.ids.tolist()], names)
        )
        table = scale_probabilities(table, heat)
    own = [item for item in desk.photos.labelled if item.label in set(names)]
    numbers = class_numbers([item.label for item in own], names)
    counts = np.bincount(numbers, minlength=len(names))
    if step.values.get("GROUPS", True):
        of = taxonomy(numbers, [item.group for item in own], len(names))
        table = mask_probabilities(table, desk.groups(loose.ids.tolist()), of)
    near, least = _near(desk, step, loose.ids, table, names)
    rule = PseudoLabelRule(
        _of_round(desk, step, "THRESHOLD", 0.95),
        _of_round(desk, step, "QUANTILE", 0) or None,
        step.values.get("CAP"),
    )
    classes, sure, why = decide(table, counts, rule, near, least)
    made = PseudoLabels(
        loose.ids,
        np.asarray(names, str)[classes],
        sure,
        np.full(len(sure), np.nan, np.float32) if near is None else near,
        why,
        desk.number,
        stage.results["model"],
    )
    path = folder / f"round{desk.number}.pseudo.csv"
    made.save(path)
    told: dict[str, Any] = {"temperature": heat, "accepted": int(made.accepted.sum())}
    told |= {} if near is None else {"floor": least}
    if "@pseudo" in desk.last:
        told["changed"] = count_changes(PseudoLabels.load(desk.last["@pseudo"].path("round")), made)
    return [path], _right(desk, made), told


def _of_round(desk: RoundContext, step: GrowStep, key: str, usual: Any) -> Any:
    value = step.values.get(key, usual)
    return value[min(desk.number, len(value)) - 1] if isinstance(value, list) else value


def _near(
    desk: RoundContext, step: GrowStep, ids: np.ndarray, table: np.ndarray, names: Sequence[str]
) -> tuple[np.ndarray | None, float]:
    """The cosines of photos to the prototype of their most probable class, and the least that will
    do.
    """
    percentile = step.values.get("PROTOTYPE", 5)
    if not percentile:
        return None, -np.inf
    found = desk.features(step)
    place = {name: row for row, name in enumerate(found.ids.tolist())}
    missing = [name for name in ids.tolist() if name not in place]
    if missing:
        raise DataError(
            f"{missing[0]!r} was classified, and has no vector: see rejects.csv of the embed step"
        )
    numbers, vectors = class_numbers(desk.labels(found.ids.tolist()), names), _array(found)
    inside = numbers >= 0
    of_class = prototypes(vectors[inside], numbers[inside], len(names))
    rows = vectors[[place[name] for name in ids.tolist()]]
    return (
        similarity(rows, of_class, table.argmax(axis=1)).astype(np.float32),
        floor(vectors[inside], numbers[inside], percentile),
    )


def _right(desk: RoundContext, made: PseudoLabels) -> list[Score]:
    if not desk.photos.measurable:
        return []
    known, truth = set(desk.photos.classes), [desk.photos.truth[name] for name in made.ids.tolist()]
    labels = np.where(made.accepted, made.labels, "").tolist()
    return [*of_choice(made.accepted, truth, known), *of_labels(labels, truth, known)]
