"""A trained classifier looked at: its figures, what dark, over-exposed and blurred photos cost,
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
from ..config import recipe
from ..data.builders import build_test_loader
from ..data.fastreid_datasets import resolve
from ..distributed.process_group import inner
from ..errors import UsageError
from ..inference import embedding
from ..inference.classification import classes_of, classifier, figures, load_classifier
from ..inference.feature_maps import maps_of
from ..io.code_version import current_commit
from ..io.json_files import write_json
from ..io.paths import PathLike
from ..io.text_table import table
from ..metrics._paired import gain
from ..regions.attention import attention
from ..report import classified_page, row, write_results
from ..report.classified import Mistake, Pair
from ..report.heat_map import overlay_heat
from ..structures import Item, Score
from ..structures.splits import refuse_missing_queries, select_split

PLAIN = "as they are"
CHANGED = {"dark": "brightness(0.3)", "over-exposed": "brightness(2.5)", "blurred": "blur(0.02)"}
DEFAULT_METRICS = ["top(1, 5)", "class_mean", "by_size(20, 100)", "calibration"]
SHOWN = 6  # photos of a pair


def report(
    config_file: PathLike,
    weights: PathLike,
    out: PathLike,
    opts: Sequence[str] = (),
    pairs: int = 10,
    on: str = "",
) -> str:
    """Classify the query photos of a recipe's first test set, as they are and changed, and show
    what goes wrong.

    Writes results.json (a row as they are, one for each change), confusion.json (the pairs of
    classes) and report.html (the same, with photos taken for another class under what the network
    looked at).

    Args:
        config_file: the recipe the weights were trained with; SEEK.TEST must list the transforms.
            Without SEEK.CLASS_METRICS it is scored by top-1, top-5, the mean over classes, by class size,
            and by calibration.
        weights: a checkpoint with its classes.json beside it.
        out: the folder.
        opts: KEY VALUE changes to the recipe.
        pairs: how many pairs of classes are shown.
        on: the map that is laid over the photos, such as "s4"; "" takes the last of the backbone.

    Returns:
        the table, with the path of the page below it.

    Raises:
        UsageError: the recipe has no test set, or no SEEK.TEST, or the backbone no such map.
        DataError: a photo cannot be read.
    """
    cfg, model = load_classifier(recipe.load(config_file, opts), weights)
    if not cfg.SEEK.TEST or not cfg.DATASETS.TESTS:
        raise UsageError(
            f"{config_file}: SEEK.TEST and DATASETS.TESTS are needed to change test photos"
        )
    names = list(_channels(model))
    if on and on not in names:
        raise UsageError(f"map {on!r}: the backbone gives {', '.join(names)}")
    cfg = _image_set(cfg, CLASS_METRICS=list(cfg.SEEK.CLASS_METRICS) or DEFAULT_METRICS)
    queries = select_split(resolve(cfg.DATASETS.TESTS[0], cfg), "query", cfg.DATASETS.TESTS[0])
    plain, scores, made = _rows(cfg, model, queries)
    found = _confused_pairs_of(cfg, model, queries, plain, pairs, on or names[-1])
    out = pathlib.Path(out)
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
        steps=shown,
        steps_title="Photos taken badly",
        since_first=True,
        pairs=[_images_shown(pair, mistakes) for pair, mistakes in found],
        facts=[
            ("weights", pathlib.Path(weights).name),
            ("photos", f"{len(queries):,}"),
            *((name, call) for name, call in CHANGED.items()),
        ],
    )
    return f"{table(shown)}\n\npage: {out / 'report.html'}"


def _pair_row(pair: Confused) -> dict[str, Any]:
    """A pair as confusion.json holds it."""
    told = dataclasses.asdict(pair)
    # The file keeps the name it has always had.
    return {"photos" if key == "images" else key: value for key, value in told.items()} | {
        "share": pair.share
    }


def _channels(model: nn.Module) -> Mapping[str, int]:
    """Name -> channels of the maps a Seeker's backbone gives."""
    seeker: Any = inner(model)
    return seeker.backbone.channels


def _rows(
    cfg: Any, model: nn.Module, queries: Sequence[Item]
) -> tuple[np.ndarray, list[Score], list[dict[str, Any]]]:
    """Probabilities and scores of the photos as they are, and a row for these and for every
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
    """What a change is worth, photo by photo: a loss is below 0."""
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
    """The pairs of classes and some photos of each, those that were surest first."""
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
                    _picture(queries[row], heats),
                )
                for row in rows
            ],
        )
        for pair, rows in zip(pairs, chosen, strict=True)
    ]


def _picture(item: Item, heats: Mapping[str, np.ndarray]) -> bytes | None:
    return overlay_heat(item.path, heats[item.id]) if item.id in heats else None


def _heats(cfg: Any, model: nn.Module, items: Sequence[Item], on: str) -> dict[str, np.ndarray]:
    """Photo -> where the network looks, [h, w] from 0 to 1, over the whole photo at the size it is
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
    """The recipe with other keys of SEEK, and without a cache of photos."""
    made = cfg.clone()
    made.defrost()
    made.SEEK.CACHE = ""
    for key, value in values.items():
        made.SEEK[key] = value
    made.freeze()
    return made
