"""Revisited Oxford and Paris (Radenovic et al. 2018): the ground truth file and what is right under
each protocol.
"""

from __future__ import annotations

import dataclasses
import math
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import DataError, UsageError
from ..io.json_files import read_json
from ..io.paths import PathLike
from ..structures import GroundTruth
from . import restricted_pickle

PROTOCOLS = {
    "easy": (("easy",), ("junk", "hard")),
    "medium": (("easy", "hard"), ("junk",)),
    "hard": (("hard",), ("junk", "easy")),
}
KINDS = ("easy", "hard", "junk")


@dataclasses.dataclass(frozen=True, eq=False)
class Gnd:
    """The ground truth.

    Args:
        queries, images: names without suffix, in the order of the file, which numbers the images
            from 0.
        boxes: [Q, 4] float64, the part of each query image that is asked for: x1, y1, x2, y2 in
            pixels; NaN where the file has none.
        easy, hard, junk: for each query the numbers of its images, int64, rising.
    """

    queries: tuple[str, ...]
    images: tuple[str, ...]
    boxes: np.ndarray
    easy: tuple[np.ndarray, ...]
    hard: tuple[np.ndarray, ...]
    junk: tuple[np.ndarray, ...]


def read_gnd(path: PathLike) -> Gnd:
    """Read gnd_roxford5k.pkl or gnd_rparis6k.pkl, or the same as .json. No code in a pickle is run.

    Raises:
        DataError: the file cannot be read or holds something else; says what.
    """
    raw = read_json(path) if pathlib.Path(path).suffix == ".json" else restricted_pickle.load(path)
    if not isinstance(raw, dict) or not {"gnd", "imlist", "qimlist"} <= set(raw):
        raise DataError(
            f"{path}: must hold gnd, imlist and qimlist, as the benchmark's own files do"
        )
    queries, images = (_names(raw[key], f"{path}: {key}") for key in ("qimlist", "imlist"))
    entries = raw["gnd"]
    if not isinstance(entries, list) or len(entries) != len(queries):
        raise DataError(f"{path}: gnd must have one entry for each of the {len(queries)} queries")
    boxes = [_box(entry, f"{path}: {name}") for name, entry in zip(queries, entries, strict=True)]
    easy, hard, junk = (
        tuple(
            _numbers(entry, kind, len(images), f"{path}: {name}")
            for name, entry in zip(queries, entries, strict=True)
        )
        for kind in KINDS
    )
    for name, *rows in zip(queries, easy, hard, junk, strict=True):
        together = np.concatenate(rows)
        if len(np.unique(together)) != len(together):
            raise DataError(f"{path}: {name}: an image is of two kinds among easy, hard and junk")
    table = np.asarray(boxes, np.float64).reshape(-1, 4)
    return Gnd(queries, images, table, easy, hard, junk)


def truth(gnd: Gnd, protocol: str, distractors: Sequence[str] = ()) -> GroundTruth:
    """What is right under a protocol: easy, medium or hard.

    Args:
        gnd: the ground truth.
        protocol: "easy": right are the easy ones, junk is junk and hard; "medium": right are easy
            and hard, junk is junk; "hard": right are the hard ones, junk is junk and easy.
        distractors: names of further gallery images that answer no query; they follow the
            benchmark's own.

    Raises:
        UsageError: there is no such protocol. DataError: a distractor is one of the benchmark's
            images.
    """
    if protocol not in PROTOCOLS:
        raise UsageError(f"protocol must be one of {', '.join(PROTOCOLS)}, got {protocol!r}")
    known = sorted({*gnd.images, *gnd.queries} & set(distractors))
    if known:
        raise DataError(
            f"{len(known)} distractors are images of the benchmark itself, the first is"
            f" {known[0]!r}"
        )
    right, junk = PROTOCOLS[protocol]
    lists = [
        [
            np.sort(np.concatenate([getattr(gnd, kind)[query] for kind in kinds]))
            for query in range(len(gnd.queries))
        ]
        for kinds in (right, junk)
    ]
    csr = [
        (np.cumsum([0, *map(len, rows)]), np.concatenate(rows) if rows else np.empty(0, np.int64))
        for rows in lists
    ]
    queries, gallery = np.array(gnd.queries, str), np.array([*gnd.images, *distractors], str)
    unlabelled = np.full(len(queries), ""), np.full(len(gallery), "")
    told = {
        "protocol": protocol,
        "relevant": " and ".join(right),
        "junk": " and ".join(junk),
        "distractors": len(distractors),
    }
    return GroundTruth(queries, gallery, *csr[0], *csr[1], *unlabelled, told)


def _names(value: Any, where: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) and name for name in value):
        raise DataError(f"{where} must be a list of names")
    if len(set(value)) != len(value):
        raise DataError(f"{where} names an image twice")
    return tuple(value)


def _box(entry: Any, where: str) -> list[float]:
    if isinstance(entry, dict) and entry.get("bbx") is None:
        return [math.nan] * 4
    box = _list_names(entry, "bbx", where)
    legal = len(box) == 4 and all(
        isinstance(side, int | float) and math.isfinite(side) for side in box
    )
    if not legal or box[0] >= box[2] or box[1] >= box[3]:
        raise DataError(
            f"{where}: bbx must be x1, y1, x2, y2 with x1 < x2 and y1 < y2, found {box}"
        )
    return [float(side) for side in box]


def _numbers(entry: Any, kind: str, images: int, where: str) -> np.ndarray:
    numbers = _list_names(entry, kind, where)
    if not all(
        isinstance(number, int) and not isinstance(number, bool) and 0 <= number < images
        for number in numbers
    ):
        raise DataError(f"{where}: {kind} must be numbers of images, 0 to {images - 1}")
    return np.sort(np.asarray(numbers, np.int64))


def _list_names(entry: Any, key: str, where: str) -> list[Any]:
    value = entry.get(key) if isinstance(entry, dict) else None
    if not isinstance(value, list):
        raise DataError(f"{where}: lacks a list {key}")
    return value
