"""What an adapter gives on Grocery, for classes it was fitted on and for classes it was not, beside
frozen vectors, PCA whitening and a trained model.

    python benchmarks/adapter.py --list grocery.csv
    fastseek embed --model default --images grocery.csv --out frozen
    OMP_NUM_THREADS=1 python benchmarks/adapter.py --frozen frozen --out benchmarks/results/adapter.json

Test images search the training images. Seen: everything is fitted on the training images of all
classes. Unseen: on those of two thirds of the classes, and the test images of the other third are
asked, in a gallery of all; thirds by three seeds, each class left out once a seed. Intervals are
over classes. With --trained, embeddings by the demo's recipe trained without the first third of
seed 0 (its images: --list FILE --third), both are compared on that split alone.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import measure
import numpy as np

from fastseek.adapt import Trying, fit_adapter
from fastseek.adapt._judgement import class_interval
from fastseek.data.datasets.grocery import Grocery
from fastseek.enhance._blended_map import BlendedMap
from fastseek.enhance.adapter import map_of
from fastseek.enhance.pca import FLAT, learn
from fastseek.io import csv_rows
from fastseek.knn.vectors import unit_rows
from fastseek.metrics._relevance_ranks import from_scores
from fastseek.metrics.map import Map
from fastseek.metrics.recall import Recall
from fastseek.registry import ADAPTERS, build
from fastseek.structures import Embeddings, GroundTruth

METRICS = {"map": Map(), "map(100)": Map(100), "recall(1)": Recall(1)}
METHODS = (
    "ridge()",
    "ridge(targets='means')",
    "lda()",
    "pair_whiten()",
    "cosine_linear()",
    "whiten()",
)
BLENDS = (0.5, 1.0)
SEEDS = (0, 1, 2)
THIRDS = 3
Treat = Callable[[np.ndarray, np.ndarray], Callable[[np.ndarray], np.ndarray]]


class Side(NamedTuple):
    """`ids`, unit `vectors` and `labels` of some images."""

    ids: np.ndarray
    vectors: np.ndarray
    labels: np.ndarray


def read_side(folder: str, split: str) -> Side:
    """Vectors of one split of Grocery."""
    found, items = Embeddings.load(folder), Grocery().items
    labels = {item.id: item.label for item in items if item.split == split}
    rows = [row for row, name in enumerate(found.ids.tolist()) if name in labels]
    ids = found.ids[rows]
    return Side(ids, unit_rows(found.vectors[rows]), np.array([labels[name] for name in ids]))


def thirds_of(labels: np.ndarray, seed: int) -> np.ndarray:
    """The third of every class of the sorted classes."""
    classes = np.unique(labels)
    third = np.empty(len(classes), np.int64)
    third[np.random.default_rng(seed).permutation(len(classes))] = np.arange(len(classes)) % THIRDS
    return third


def keep(vectors: np.ndarray, labels: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Frozen vectors as they are."""
    return lambda given: given


def whiten_by(dim: int | None) -> Treat:
    """PCA whitening."""

    def fit(vectors: np.ndarray, labels: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        learned = learn(Embeddings(np.arange(len(vectors)).astype(str), vectors))
        variances, mean = learned["variances"], learned["mean"]
        kept = dim or int((variances > FLAT * variances[0]).sum())
        turn = learned["directions"][:kept].T / np.sqrt(variances[:kept])
        return lambda given: (given - mean) @ turn

    return fit


def fit_by(call: str, blend: float) -> Treat:
    """One method with one blend."""

    def fit(vectors: np.ndarray, labels: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        classes = np.unique(labels, return_inverse=True)[1]
        return BlendedMap(*build(call, ADAPTERS)(vectors, classes), blend)

    return fit


def average_by(call: str, share: float) -> Treat:
    """The other way to mix: one matrix, (1 - share) I + share W, W of the length of vectors."""

    def fit(vectors: np.ndarray, labels: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        classes = np.unique(labels, return_inverse=True)[1]
        mean, turn = build(call, ADAPTERS)(vectors, classes)
        length = np.sqrt((((vectors - mean) @ turn.T) ** 2).sum(axis=1).mean())
        return lambda given: (1 - share) * given + share / length * ((given - mean) @ turn.T)

    return fit


def choose(vectors: np.ndarray, labels: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """What `fastseek adapt` writes when nothing is said of methods."""
    ids = [f"{number:05d}" for number in range(len(vectors))]
    given = dict(zip(ids, labels.tolist(), strict=True))
    return map_of(fit_adapter(Embeddings(ids, vectors), given, Trying()).fit)


def score(
    queries: Side, gallery: Side, transform: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """[metrics, Q] of the queries in the gallery, all of which is ranked."""
    asked, searched = (unit_rows(transform(side.vectors)) for side in (queries, gallery))
    truth = GroundTruth.from_labels(
        queries.ids.tolist(), queries.labels.tolist(), gallery.ids.tolist(), gallery.labels.tolist()
    )
    hits = from_scores(asked @ searched.T, truth)
    return np.stack([part.score(hits)[0].per_query for part in METRICS.values()])


def pick(side: Side, rows: np.ndarray) -> Side:
    return Side(*(column[rows] for column in side))


def score_unseen(queries: Side, gallery: Side, treat: Treat, seeds: Sequence[int]) -> np.ndarray:
    """[metrics, Q], every query when its class is left out of the fit, the mean over the seeds."""
    classes, total = np.unique(gallery.labels), np.zeros((len(METRICS), len(queries.ids)))
    for seed in seeds:
        third = thirds_of(gallery.labels, seed)
        for number in range(THIRDS):
            inside, asked = (
                third[np.searchsorted(classes, side.labels)] == number
                for side in (gallery, queries)
            )
            transform = treat(gallery.vectors[~inside], gallery.labels[~inside])
            total[:, asked] += score(pick(queries, asked), gallery, transform)
    return total / len(seeds)


def describe(values: np.ndarray, frozen: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Figures, and gains over frozen vectors, with intervals over classes."""
    classes = np.unique(labels, return_inverse=True)[1]
    page: dict[str, Any] = {}
    for name, own, before in zip(METRICS, values, frozen, strict=True):
        page[name] = {
            "value": round(float(own.mean()), 4),
            "interval": _round(class_interval(own, classes)),
            "gain": round(float((own - before).mean()), 4),
            "gain_interval": _round(class_interval(own - before, classes)),
        }
    return page


def _round(span: tuple[float, float]) -> list[float]:
    return [round(end, 4) for end in span]


def candidates() -> Iterator[tuple[str, Treat]]:
    yield "frozen", keep
    yield "PCA whitening, 256 directions", whiten_by(256)
    yield "PCA whitening, all directions", whiten_by(None)
    for call in METHODS:
        for blend in BLENDS:
            yield f"{call}, blend {blend:g}", fit_by(call, blend)
    yield "ridge(targets='means') averaged with I, share 0.5", average_by(METHODS[1], 0.5)
    yield "fastseek adapt", choose


def compare(queries: Side, gallery: Side) -> Iterator[dict[str, Any]]:
    frozen: tuple[np.ndarray, np.ndarray] | None = None
    for name, treat in candidates():
        started = time.process_time()
        transform = treat(gallery.vectors, gallery.labels)
        seconds = time.process_time() - started
        seen = score(queries, gallery, transform)
        unseen = score_unseen(queries, gallery, treat, SEEDS)
        frozen = frozen or (seen, unseen)
        yield {
            "name": name,
            "dim": int(transform(gallery.vectors[:1]).shape[1]),
            "fit_cpu_seconds": round(seconds, 2),
            "seen": describe(seen, frozen[0], queries.labels),
            "unseen": describe(unseen, frozen[1], queries.labels),
        }


def compare_trained(frozen: str, trained: str) -> Iterator[dict[str, Any]]:
    """Frozen vectors, adapted ones, and a trained model's, on the first third of seed 0."""
    base: np.ndarray | None = None
    for name, folder, treat in (
        ("frozen", frozen, keep),
        ("frozen, fastseek adapt", frozen, choose),
        ("trained", trained, keep),
        ("trained, fastseek adapt", trained, choose),
    ):
        queries, gallery = read_side(folder, "query"), read_side(folder, "gallery")
        classes, third = np.unique(gallery.labels), thirds_of(gallery.labels, 0)
        fitted = third[np.searchsorted(classes, gallery.labels)] != 0
        asked = third[np.searchsorted(classes, queries.labels)] == 0
        transform = treat(gallery.vectors[fitted], gallery.labels[fitted])
        values = score(queries, gallery, transform)
        base = values if base is None else base
        yield {
            "name": f"{name}, one split",
            "seen": describe(values[:, ~asked], base[:, ~asked], queries.labels[~asked]),
            "unseen": describe(values[:, asked], base[:, asked], queries.labels[asked]),
        }


def write_list(path: str, third: bool) -> None:
    """The images of both splits, or the training images without the first third of the classes."""
    items = Grocery().items
    wanted = [
        item for item in items if item.split == "train" or item.split == "query" and not third
    ]
    if third:
        labels = np.array([item.label for item in items if item.split == "gallery"])
        known = dict(zip(np.unique(labels), thirds_of(labels, 0), strict=True))
        wanted = [item for item in wanted if known[item.label] != 0]
    rows = [(item.id, item.path, item.label, item.split) for item in wanted]
    csv_rows.write(path, ("id", "path", "label", "split"), rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--list", help="write the list of images to be embedded, and end")
    parser.add_argument("--third", action="store_true", help="the list is that of the training")
    parser.add_argument("--frozen", help="embeddings of that list")
    parser.add_argument("--trained", help="embeddings of it by the model trained on two thirds")
    parser.add_argument("--out")
    args = parser.parse_args()
    if args.list:
        write_list(args.list, args.third)
        return
    queries, gallery = read_side(args.frozen, "query"), read_side(args.frozen, "gallery")
    rows = []
    every = [compare(queries, gallery)]
    every += [compare_trained(args.frozen, args.trained)] if args.trained else []
    for row in (row for found in every for row in found):
        rows.append(row)
        told = [
            f"{group} {row[group]['map']['value']:.3f}/{row[group]['recall(1)']['value']:.3f}"
            for group in ("seen", "unseen")
        ]
        print(f"{row['name']:52s} {'  '.join(told)}  (map/recall@1)", flush=True)
    what = "adapters on Grocery: test images search training images, seen and unseen classes"
    measure.write(args.out, what, ("numpy", "scipy"), rows)


if __name__ == "__main__":
    main()
