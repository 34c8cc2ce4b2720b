"""A trained classifier looked at: its figures, what dark, over-exposed and blurred images cost,
what it confuses.
"""

from __future__ import annotations

import dataclasses
import pathlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import nn

from ..classification import class_numbers
from ..classification.confusion import Confused, confused_pairs
from ..classification.gate import (
    NONE,
    SCORES,
    USUAL,
    check_score,
    check_share,
    fit_gate,
    measure_gate,
    save_gate,
    score_images,
)
from ..config import recipe
from ..config.edits import replace_values
from ..data.builders import build_test_loader
from ..data.fastreid_datasets import resolve
from ..data.own_images import images_of
from ..data.rejects import append
from ..distributed.process_group import inner
from ..errors import DataError, UsageError
from ..inference import embedding
from ..inference.classification import (
    classes_of,
    classifier,
    describe_classifier,
    figures,
    load_classifier,
)
from ..inference.feature_maps import maps_of
from ..io.code_version import current_commit
from ..io.json_files import write_json
from ..io.paths import PathLike
from ..io.text_table import table
from ..metrics._paired import gain
from ..regions.attention import attention, fit_strength
from ..report import StepsTable, classified_page, row, write_results
from ..report.classified import Mistake, Pair
from ..report.heat_map import overlay_heat
from ..structures import Item, Score
from ..structures.splits import refuse_missing_queries, select_split

PLAIN = "as they are"
CHANGED = {"dark": "brightness(0.3)", "over-exposed": "brightness(2.5)", "blurred": "blur(0.02)"}
DEFAULT_METRICS = ["top(1, 5)", "class_mean", "by_size(20, 100)", "calibration"]
SHOWN = 6  # images of a pair


@dataclasses.dataclass(frozen=True)
class GateChoice:
    """How the gate before the classifier is fitted and measured.

    Args:
        keep: the share of images of known classes it lets in.
        outside: a folder or a list of images of none of the classes; None without.
        by: how sure the classifier is: "probability", "margin" or "entropy".
    """

    keep: float = 0.95
    outside: PathLike | None = None
    by: str = USUAL


def report(
    config_file: PathLike,
    weights: PathLike,
    out: PathLike,
    opts: Sequence[str] = (),
    pairs: int = 10,
    on: str = "",
    gate: GateChoice | None = None,
) -> str:
    """Classify the query images of a recipe's first test set, as they are and changed, and show
    what goes wrong.

    Writes results.json (a row as they are, one for each change), confusion.json (the pairs of
    classes) and report.html (the same, with images taken for another class under what the network
    looked at), and gate.json (the threshold below which an image is of none of the classes, for
    `fastseek classify --gate`).

    Args:
        config_file: the recipe the weights were trained with; SEEK.TEST must list the transforms.
            Without SEEK.CLASS_METRICS it is scored by top-1, top-5, the mean over classes, by class size,
            and by calibration.
        weights: a checkpoint with its classes.json beside it.
        out: the folder.
        opts: KEY VALUE changes to the recipe.
        pairs: how many pairs of classes are shown.
        on: the map that is laid over the images, such as "s4"; "" takes the last of the backbone.
        gate: how the gate is fitted, and images of no known class it is measured on; by the images
            of the test set alone when not given.

    Returns:
        the table, with the path of the page below it.

    Raises:
        UsageError: the recipe has no test set, or no SEEK.TEST, or the backbone no such map.
        DataError: an image cannot be read, no image of the test set is of a known class, or the share
            the gate is to let in is none.
    """
    cfg, model = _load(config_file, opts, weights)
    on = _choose_map(model, on)
    queries = _test_images(cfg)
    known = _of_known_classes(cfg, queries)
    choice = gate or GateChoice()
    check_share(choice.keep)
    check_score(choice.by)
    strangers = [] if choice.outside is None else images_of(choice.outside)[0]
    out = pathlib.Path(out)
    plain, scores, made = _rows(cfg, model, queries)
    outside, lost = _score_outside(cfg, model, strangers, choice, out)
    told, gate_row = _gate(
        out / "gate.json",
        score_images(plain, choice.by),
        known,
        outside,
        choice,
        describe_classifier(cfg, model),
    )
    made += gate_row
    found = _confused_pairs_of(cfg, model, queries, plain, pairs, on)
    write_results(out / "results.json", made, current_commit(), max(cfg.SEED, 0))
    write_json(out / "confusion.json", {"pairs": [_pair_row(pair) for pair, _ in found]})
    shown = [_without_gains(one) for one in made]
    facts = [
        ("weights", pathlib.Path(weights).name),
        ("photos", f"{len(queries):,}"),
        *CHANGED.items(),
        (NONE, told + lost),
    ]
    classified_page(
        out / "report.html",
        title=f"{cfg.DATASETS.TESTS[0]}: what the classifier says",
        scores=scores,
        steps=StepsTable(shown, "Images taken badly", since_first=True),
        pairs=[_images_shown(pair, mistakes) for pair, mistakes in found],
        facts=facts,
    )
    return f"{table(shown)}\n\ngate: {told}{lost}\npage: {out / 'report.html'}"


def _load(config_file: PathLike, opts: Sequence[str], weights: PathLike) -> tuple[Any, nn.Module]:
    """The recipe with what it is scored by, and the classifier.

    Raises:
        UsageError: the recipe has no test set or no SEEK.TEST.
    """
    cfg, model = load_classifier(recipe.load(config_file, opts), weights)
    if not cfg.SEEK.TEST or not cfg.DATASETS.TESTS:
        raise UsageError(
            f"{config_file}: SEEK.TEST and DATASETS.TESTS are needed to change test images"
        )
    metrics = list(cfg.SEEK.CLASS_METRICS) or DEFAULT_METRICS
    return _image_set(cfg, CLASS_METRICS=metrics), model


def _choose_map(model: nn.Module, on: str) -> str:
    """The map that was asked for, or the last of the backbone.

    Raises:
        UsageError: it gives no such map.
    """
    names = list(_channels(model))
    if on and on not in names:
        raise UsageError(f"map {on!r}: the backbone gives {', '.join(names)}")
    return on or names[-1]


def _test_images(cfg: Any) -> Sequence[Item]:
    name = cfg.DATASETS.TESTS[0]
    return select_split(resolve(name, combine_all=cfg.DATASETS.COMBINEALL), "query", name)


def _of_known_classes(cfg: Any, queries: Sequence[Item]) -> np.ndarray:
    """bool [N]: which images are of a class the model was trained on.

    Raises:
        DataError: none is, so that nothing can be said of the classifier.
    """
    labels, _ = classes_of(cfg)
    known: np.ndarray = class_numbers([item.label for item in queries], labels) >= 0
    if not known.any():
        raise DataError(
            f"{cfg.DATASETS.TESTS[0]}: none of its {len(queries)} query images is of one of the"
            f" {len(labels)} classes the model was trained on, such as {labels[0]!r}"
        )
    return known


def _without_gains(one: Mapping[str, Any]) -> dict[str, Any]:
    """A row of results.json as the table shows it."""
    metrics = {name: value for name, value in one["metrics"].items() if not name.endswith(" gain")}
    return {**one, "metrics": metrics}


def _pair_row(pair: Confused) -> dict[str, Any]:
    """A pair as confusion.json holds it."""
    told = dataclasses.asdict(pair)
    # The file keeps the name it has always had.
    return {"photos" if key == "images" else key: value for key, value in told.items()} | {
        "share": pair.share
    }


def _gate(
    path: pathlib.Path,
    scores: np.ndarray,
    known: np.ndarray,
    strangers: np.ndarray,
    choice: GateChoice,
    made_by: Mapping[str, Any],
) -> tuple[str, list[dict[str, Any]]]:
    """Fit a gate, measure it and write it; what is told of it, and its row of results.json, which it
    has when there are images of no known class.

    Args:
        path: the JSON file.
        scores: [N] of the test set.
        known: bool [N], which of these are of a known class.
        strangers: scores of further images of no known class.
        choice: how it is fitted.
        made_by: provenance of the probabilities.
    """
    gate = fit_gate(scores[known], choice.keep, choice.by)
    # Images of the test set whose class the model has never seen are strangers too.
    outside = np.concatenate([scores[~known], strangers])
    found = measure_gate(gate, scores[known], outside)
    save_gate(path, gate, found, made_by)
    told = (
        f"a {SCORES[gate.by]} of {gate.threshold:.3f} lets in {100 * found.kept:.1f} % of"
        f" {found.inside} images of known classes"
    )
    if found.auroc is None or found.let_in is None:
        return f"{told}; give images of none of the classes with --outside to measure it", []
    figures = [Score("auroc", found.auroc, None), Score("let in", found.let_in, None)]
    told += f" and {100 * found.let_in:.1f} % of {found.outside} others (AUROC {found.auroc:.3f})"
    return told, [row(NONE, figures)]


def _score_outside(
    cfg: Any,
    model: nn.Module,
    items: Sequence[Item],
    choice: GateChoice,
    out: pathlib.Path,
) -> tuple[np.ndarray, str]:
    """The scores of images of none of the classes, and what is told of those that cannot be
    read.
    """
    if not items:
        return np.empty(0, np.float32), ""
    _, probabilities, rejects = embedding.in_memory(cfg, model, items, classifier(cfg, model))
    if not len(probabilities):
        raise DataError(f"{choice.outside}: none of {len(items)} images can be read")
    scores = score_images(probabilities, choice.by)
    if not rejects:
        return scores, ""
    # Of this call alone: from another working folder a path may be written in another way.
    (out / "rejects.csv").unlink(missing_ok=True)
    append(out / "rejects.csv", rejects)
    return scores, (f"; {len(rejects)} of the others cannot be read, see {out / 'rejects.csv'}")


def _channels(model: nn.Module) -> Mapping[str, int]:
    """Name -> channels of the maps a Seeker's backbone gives."""
    seeker: Any = inner(model)
    return seeker.backbone.channels


def _rows(
    cfg: Any, model: nn.Module, queries: Sequence[Item]
) -> tuple[np.ndarray, list[Score], list[dict[str, Any]]]:
    """Probabilities and scores of the images as they are, and a row for these and for every
    change.
    """
    plain, first, made = np.empty(0), [], []
    for name, call in {PLAIN: "", **CHANGED}.items():
        start = time.monotonic()
        said = _classify_images(
            _image_set(cfg, TEST=[*cfg.SEEK.TEST, *([call] if call else [])]), model, queries
        )
        scores = figures(cfg, said, queries)
        if not call:
            plain, first = said, scores
        made.append(row(name, scores, time.monotonic() - start))
        if call:
            _add_gains(made[-1], first, scores)
    return plain, first, made


def _add_gains(one: dict[str, Any], first: Sequence[Score], scores: Sequence[Score]) -> None:
    """What a change is worth, image by image: a loss is below 0."""
    before = {score.name: score for score in first}
    for score in [score for score in scores if score.name in before]:
        found = gain(before[score.name], score)
        one["metrics"][f"{score.name} gain"] = found.value
        if found.span is not None and not np.isnan(found.span).any():
            one["interval"][f"{score.name} gain"] = list(found.span)


def _classify_images(cfg: Any, model: nn.Module, queries: Sequence[Item]) -> np.ndarray:
    rows, probabilities, rejects = embedding.in_memory(cfg, model, queries, classifier(cfg, model))
    refuse_missing_queries(queries, rows, rejects)
    return probabilities


def _confused_pairs_of(
    cfg: Any,
    model: nn.Module,
    queries: Sequence[Item],
    probabilities: np.ndarray,
    most: int,
    on: str,
) -> list[tuple[Confused, list[Mistake]]]:
    """The pairs of classes and some images of each, those that were surest first."""
    labels, _ = classes_of(cfg)
    truth, said = (
        class_numbers([item.label for item in queries], labels),
        probabilities.argmax(axis=1),
    )
    pairs = confused_pairs(probabilities, truth, labels, most)
    chosen = []
    for pair in pairs:
        both = {labels.index(pair.first), labels.index(pair.second)}
        wrong = [
            row
            for row in range(len(queries))
            if truth[row] != said[row] and {truth[row], said[row]} == both
        ]
        chosen.append(sorted(wrong, key=lambda row: (-probabilities[row, said[row]], row))[:SHOWN])
    heats = _heats(
        cfg, model, [queries[row] for row in sorted({row for rows in chosen for row in rows})], on
    )
    return [
        (
            pair,
            [
                Mistake(
                    queries[row].id,
                    queries[row].label,
                    labels[said[row]],
                    float(probabilities[row, said[row]]),
                    _heat_image(queries[row], heats),
                )
                for row in rows
            ],
        )
        for pair, rows in zip(pairs, chosen, strict=True)
    ]


def _heat_image(item: Item, heats: Mapping[str, np.ndarray]) -> bytes | None:
    return overlay_heat(item.path, heats[item.id]) if item.id in heats else None


def _heats(cfg: Any, model: nn.Module, items: Sequence[Item], on: str) -> dict[str, np.ndarray]:
    """Image -> where the network looks, [h, w] from 0 to 1, over the whole image at the size it is
    tested at.
    """
    if not items:
        return {}
    height, width = next(iter(build_test_loader(cfg, items[:1])))["images"].shape[2:]
    made: dict[str, np.ndarray] = {}
    for ids, maps in maps_of(
        _image_set(cfg, TEST=[f"resize({(height, width)})"], CROPS=""), model, items, "attention"
    ):
        made |= {
            name: attention(one, fit_strength(one))
            for name, one in zip(ids, maps[on].float().cpu().numpy(), strict=True)
        }
    return made


def _images_shown(pair: Confused, mistakes: Sequence[Mistake]) -> Pair:
    return Pair(
        pair.first, pair.second, pair.first_as_second, pair.second_as_first, pair.share, mistakes
    )


def _image_set(cfg: Any, **values: Any) -> Any:
    """The recipe with other keys of SEEK, and without a cache of images."""
    changed = {f"SEEK.{key}": value for key, value in values.items()}
    return replace_values(cfg, {"SEEK.CACHE": ""} | changed)
