"""What is relevant, read from a file."""

from __future__ import annotations

import pathlib

import numpy as np

from ..errors import ArtefactError, DataError
from ..io import csv_rows
from ..io.paths import PathLike
from . import GroundTruth, Ranking

Rows = list[dict[str, str]]
COLUMNS = ("id", "label", "split", "group")


def read_truth(path: PathLike, ranking: Ranking) -> GroundTruth:
    """Read an .npz truth, or a CSV file with the columns id,label[,split,group].

    With a column split, the rows marked "query" and "gallery" are the two sides and others are left
    out; without it, every image of the ranking is looked up by its id, queries and gallery alike.
    Relevant is the same label; with groups, the same label in the same group is junk, and so is the
    query itself, known by its id. Row numbers, as bare vectors have them for ids, name no photos:
    where both sides of a split are numbered from 0, none is the other's.

    Raises:
        DataError: the file cannot be read, lacks a column, a row has more or fewer values, or an id
            stands twice; names the row.
        ArtefactError: an image of the ranking is not in the file.
    """
    path = pathlib.Path(path)
    if path.suffix == ".npz":
        return GroundTruth.load(path)
    rows = _read_rows(path)
    if "split" in rows[0]:
        sides = [
            _unique([row for row in rows if row["split"] == split], path)
            for split in ("query", "gallery")
        ]
    else:
        known = _unique(rows, path)
        sides = [_pick(known, ids, path) for ids in (ranking.query_ids, ranking.gallery_ids)]
    columns = [
        [row.get(name) or "" for row in side.values()]
        for side in sides
        for name in ("id", "label", "group")
    ]
    q_ids, q_labels, q_groups, g_ids, g_labels, g_groups = columns
    bare = "split" in rows[0] and _are_row_numbers(q_ids) and _are_row_numbers(g_ids)
    return GroundTruth.from_labels(
        q_ids, q_labels, g_ids, g_labels, q_groups, g_groups, shared=not bare
    )


def _are_row_numbers(ids: list[str]) -> bool:
    return set(ids) == set(map(str, range(len(ids))))


def _read_rows(path: pathlib.Path) -> Rows:
    """The rows below the header, each with its line under ""."""
    names = csv_rows.read_header(path)
    missing = [name for name in ("id", "label") if name not in names]
    if missing:
        raise DataError(
            f"{path}:1: no column {' and '.join(missing)}; found {', '.join(names) or 'none'}"
        )
    columns = [name for name in COLUMNS if name in names]
    rows = [
        dict(zip(columns, row, strict=True)) | {"": str(line)}
        for line, row in csv_rows.read(path, columns, allow_mark=True)
    ]
    if not rows:
        raise DataError(f"{path}: has no row below its header")
    return rows


def _unique(rows: Rows, path: pathlib.Path) -> dict[str, dict[str, str]]:
    known: dict[str, dict[str, str]] = {}
    for row in rows:
        before = known.setdefault(row["id"], row)
        if before is not row:
            raise DataError(
                f"{path}:{row['']}: id {row['id']!r} stands in row {before['']} already, must be"
                " once"
            )
    return known


def _pick(
    known: dict[str, dict[str, str]], ids: np.ndarray, path: pathlib.Path
) -> dict[str, dict[str, str]]:
    missing = [str(name) for name in ids if name not in known]
    if missing:
        raise ArtefactError(
            f"{path} does not tell of {len(missing)} of {len(ids)} images of the ranking, the first"
            f" is {missing[0]!r}"
        )
    return {str(name): known[name] for name in ids}
