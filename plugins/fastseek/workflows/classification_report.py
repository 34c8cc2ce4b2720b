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
from ..classification.gate import NONE, fit_gate, measure_gate, save_gate, score_images
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
from ..regions.attention import attention
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
    """

    keep: float = 0.95
    outside: PathLike | None = None


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
        DataError: an image cannot be read.
    """
    cfg, model = load_classifier(recipe.load(config_file, opts), weights)
    if not cfg.SEEK.TEST or not cfg.DATASETS.TESTS:
        raise UsageError(
            f"{config_file}: SEEK.TEST and DATASETS.TESTS are needed to change test images"
        )
    names = list(_channels(model))
    if on and on not in names:
        raise UsageError(f"map {on!r}: the backbone gives {', '.join(names)}")
    cfg = _image_set(cfg, CLASS_METRICS=list(cfg.SEEK.CLASS_METRICS) or DEFAULT_METRICS)
    name = cfg.DATASETS.TESTS[0]
    items = resolve(name, combine_all=cfg.DATASETS.COMBINEALL)
    queries = select_split(items, "query", name)
    choice = gate or GateChoice()
    _check_gate(choice)
    plain, scores, made = _rows(cfg, model, queries)
    out = pathlib.Path(out)
    told, gate_row = _gate(cfg, model, queries, plain, choice, out)
    made += gate_row
    found = _confused_pairs_of(cfg, model, queries, plain, pairs, on or names[-1])
    write_results(out / "results.json", made, current_commit(), max(cfg.SEED, 0))
    write_json(
        out / "confusion.json",
        {"pairs": [_pair_row(pair) for pair, _ in found]},
    )
    shown = [
        {
            **one,
            "metrics": {
                name: value for name, value in one["metrics"].items() if not name.endswith(" gain")
            },
        }
        for one in made
    ]
    classified_page(
        out / "report.html",
        title=f"{cfg.DATASETS.TESTS[0]}: what the classifier says",
        scores=scores,
        steps=StepsTable(shown, "Images taken badly", since_first=True),
        pairs=[_images_shown(pair, mistakes) for pair, mistakes in found],
        facts=[
            ("weights", pathlib.Path(weights).name),
            ("photos", f"{len(queries):,}"),
            *((name, call) for name, call in CHANGED.items()),
            (NONE, told),
        ],
    )
    return f"{table(shown)}\n\ngate: {told}\npage: {out / 'report.html'}"


def _check_gate(choice: GateChoice) -> None:
    """Look at what the gate is made with before the work, and not after it.

    Raises:
        DataError: there are no images outside, or a share that is none.
    """
    if not 0 < choice.keep <= 1:
        raise DataError(f"a gate needs a share in (0, 1], got {choice.keep}")
    if choice.outside is not None:
        images_of(choice.outside)


def _pair_row(pair: Confused) -> dict[str, Any]:
    """A pair as confusion.json holds it."""
    told = dataclasses.asdict(pair)
    # The file keeps the name it has always had.
    return {"photos" if key == "images" else key: value for key, value in told.items()} | {
        "share": pair.share
    }


def _gate(
    cfg: Any,
    model: nn.Module,
    queries: Sequence[Item],
    probabilities: np.ndarray,
    choice: GateChoice,
    out: pathlib.Path,
) -> tuple[str, list[dict[str, Any]]]:
    """Fit a gate, measure it and write gate.json; what is told of it, and its row of results.json,
    which it has when there are images of no known class.
    """
    labels, _ = classes_of(cfg)
    known = class_numbers([item.label for item in queries], labels) >= 0
    scores = score_images(probabilities)
    gate = fit_gate(scores[known], choice.keep)
    strangers, lost = _score_outside(cfg, model, choice.outside, out)
    # Images of the test set whose class the model has never seen are strangers too.
    outside = np.concatenate([scores[~known], strangers])
    found = measure_gate(gate, scores[known], outside)
    save_gate(out / "gate.json", gate, found, describe_classifier(cfg, model))
    told = (
        f"a largest probability of {gate.threshold:.3f} lets in {100 * found.kept:.1f} % of"
        f" {found.inside} images of known classes"
    )
    if found.auroc is None or found.let_in is None:
        return f"{told}; give images of none of the classes with --outside to measure it", []
    figures = [Score("auroc", found.auroc, None), Score("let in", found.let_in, None)]
    told += (
        f" and {100 * found.let_in:.1f} % of {found.outside} others (AUROC {found.auroc:.3f}){lost}"
    )
    return told, [row(NONE, figures)]


def _score_outside(
    cfg: Any, model: nn.Module, images: PathLike | None, out: pathlib.Path
) -> tuple[np.ndarray, str]:
    """The scores of images of none of the classes, and what is told of those that cannot be
    read.
    """
    if images is None:
        return np.empty(0, np.float32), ""
    items, _ = images_of(images)
    _, probabilities, rejects = embedding.in_memory(cfg, model, items, classifier(cfg, model))
    if not len(probabilities):
        raise DataError(f"{images}: none of {len(items)} images can be read")
    if not rejects:
        return score_images(probabilities), ""
    append(out / "rejects.csv", rejects)
    return score_images(probabilities), (
        f"; {len(rejects)} of the others cannot be read, see {out / 'rejects.csv'}"
    )


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
            name: attention(one)
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
