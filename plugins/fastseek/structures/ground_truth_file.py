"""What is relevant, read from a file."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from ..errors import ArtefactError, DataError
from ..io import csv_rows
from ..io.paths import PathLike
from . import GroundTruth, Ranking
from .arrays import StringArray
from .ground_truth import LabeledSide
from .identity import OTHER_ROOTS, ROW_NUMBERS, compare_ids, root_of, roots_differ
from .listed_ids import Ids

Rows = list[dict[str, str]]
Side = dict[str, dict[str, str]]  # id -> row
Labels = Mapping[str, str] | tuple[Sequence[str], Sequence[str]]
COLUMNS = ("id", "label", "split", "group")


def read_truth(path: PathLike, ranking: Ranking) -> GroundTruth:
    """Read an .npz truth, or a CSV file with the columns id,label[,split,group].

    With a column split, the rows marked "query" and "gallery" are the two sides and others are left
    out; without it, every image of the ranking is looked up by its id, queries and gallery alike.
    Relevant is the same label; with groups, the same label in the same group is junk, and so is the
    query itself. An id belongs to its root, which the ranking's provenance tells: the same id in
    two folders, or the same row number in two files, names two images.

    Raises:
        DataError: the file cannot be read, lacks a column, a row has more or fewer values, or an id
            stands twice; names the row. An id names two images and no column tells which is which.
        ArtefactError: an image of the ranking is not in the file.
    """
    path = pathlib.Path(path)
    if path.suffix == ".npz":
        return GroundTruth.load(path)
    rows = _read_rows(path)
    return _make_truth(*_split_rows(rows, ranking, path), ranking)


def label_truth(labels: Labels, ranking: Ranking) -> GroundTruth:
    """What is relevant by the labels of images: the same label, and never the query itself.

    Args:
        labels: id -> label, of queries and gallery alike; or the labels of the queries and those of
            the gallery, in the order of the ranking. "" is an image of no class.
        ranking: tells the images.

    Raises:
        ArtefactError: an image of the ranking has no label, or there are more labels than images.
        DataError: an id names two images, of two roots, so one entry cannot tell of both.
    """
    source, sides = pathlib.Path("the labels"), (ranking.query_ids, ranking.gallery_ids)
    if not isinstance(labels, Mapping):
        asked = _label_side(sides[0], labels[0], "queries")
        return _make_truth(asked, _label_side(sides[1], labels[1], "gallery images"), ranking)
    told = {str(name): {"id": str(name), "label": str(label)} for name, label in labels.items()}
    queries, gallery = (_pick(told, ids, source) for ids in sides)
    _refuse_two_meanings(queries, gallery, ranking, source)
    return _make_truth(queries, gallery, ranking)


def _label_side(ids: Ids, labels: Sequence[str], what: str) -> Side:
    if len(ids) != len(labels):
        raise ArtefactError(f"{len(labels)} labels for {len(ids)} {what}, must be as many")
    return {
        name: {"id": name, "label": str(label)}
        for name, label in zip(ids.tolist(), labels, strict=True)
    }


def _make_truth(queries: Side, gallery: Side, ranking: Ranking) -> GroundTruth:
    shared = None
    if not _are_bare(queries, gallery, ranking):
        shared = compare_ids(
            np.asarray(list(queries), str), np.asarray(list(gallery), str), ranking.provenance
        )
    if shared is not None:
        return GroundTruth.from_sides(
            _make_side(queries, shared.queries), _make_side(gallery, shared.gallery)
        )
    why = OTHER_ROOTS if roots_differ(ranking.provenance) else ROW_NUMBERS
    return GroundTruth.from_sides(_make_side(queries), _make_side(gallery), why)


def _split_rows(rows: Rows, ranking: Ranking, path: pathlib.Path) -> tuple[Side, Side]:
    """The rows of the queries and of the gallery, by id."""
    if "split" in rows[0]:
        queries, gallery = (
            _unique([row for row in rows if row["split"] == split], path)
            for split in ("query", "gallery")
        )
        return queries, gallery
    known = _unique(rows, path)
    queries, gallery = (_pick(known, ids, path) for ids in (ranking.query_ids, ranking.gallery_ids))
    _refuse_two_meanings(queries, gallery, ranking, path)
    return queries, gallery


def _refuse_two_meanings(
    queries: Side, gallery: Side, ranking: Ranking, path: pathlib.Path
) -> None:
    """One row cannot tell the labels of two images."""
    apart = roots_differ(ranking.provenance)
    if not apart and not _are_bare(queries, gallery, ranking):
        return
    twice = [name for name in queries if name in gallery]
    roots = [root_of(ranking.provenance, side) for side in ("queries", "gallery")]
    if not twice:
        return
    told = f" ({roots[0]} and {roots[1]})" if apart and all(roots) else ""
    # Rankings of earlier versions do not tell their files, so one file searched in itself looks so too.
    again = "" if apart else "; or search again, if both are one file: rankings tell that now"
    raise DataError(
        f"{path}: the id {twice[0]!r} names two images, one of the queries and one of the gallery"
        f"{told}, so one row cannot tell of both: add a column split, and a row for each marked"
        f" query and gallery{again}"
    )


def _make_side(rows: Side, names: StringArray | None = None) -> LabeledSide:
    # White space around a label makes no other class.
    labels, groups = (
        [(row.get(name) or "").strip() for row in rows.values()] for name in ("label", "group")
    )
    return LabeledSide(list(rows), labels, groups, names)


def _are_bare(queries: Side, gallery: Side, ranking: Ranking) -> bool:
    """Whether both sides are known by row numbers, and nothing tells that they are one file's."""
    known = all(root_of(ranking.provenance, side) for side in ("queries", "gallery"))
    return not known and _are_row_numbers(list(queries)) and _are_row_numbers(list(gallery))


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
    known: dict[str, dict[str, str]], ids: Ids, path: pathlib.Path
) -> dict[str, dict[str, str]]:
    missing = [str(name) for name in ids if name not in known]
    if missing:
        raise ArtefactError(
            f"{path} does not tell of {len(missing)} of {len(ids)} images of the ranking, the first"
            f" is {missing[0]!r}"
        )
    return {str(name): known[name] for name in ids}
