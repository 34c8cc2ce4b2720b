"""The images of a round as a table that `manifest` reads, and the tables beside it."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import pathlib
from collections.abc import Iterable, Sequence

from ..errors import DataError
from ..io import csv_rows
from ..io.paths import PathLike
from ..structures import Item
from ..structures.label_file import read_labels

COLUMNS = ("path", "label", "group", "split", "id", "source", "round")


def write_manifest(
    folder: PathLike, name: str, number: int, parts: Sequence[tuple[str, Sequence[Item]]]
) -> pathlib.Path:
    """Write `folder`/round<number>.<name>.<digest>.csv, a table for `manifest(…)`.

    The digest is of the rows, so that a training on other images or labels has another recipe. Of a
    image that comes in several parts the first is taken. The rest of an earlier table of that round
    and name is removed.

    Args:
        folder: where it goes.
        name: what it holds.
        number: the round.
        parts: (source, items): source is told in a column of its own, "labelled", "pseudo",
            "cluster".

    Returns:
        the file.

    Raises:
        DataError: there is no image.
    """
    rows: dict[tuple[str, str], list[str]] = {}
    for source, items in parts:
        for item in items:
            rows.setdefault(
                (item.split, item.id),
                [
                    os.path.abspath(item.path),
                    item.label,
                    item.group,
                    item.split,
                    item.id,
                    source,
                    str(number),
                ],
            )
    if not rows:
        raise DataError(
            f"round {number}: {name} holds no image, so there is nothing to train on: loosen the"
            " rules that chose it"
        )
    text = "".join(csv_rows.format_rows([COLUMNS, *rows.values()]))
    digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:10]
    made = pathlib.Path(folder) / f"round{number}.{name}.{digest}.csv"
    csv_rows.write(made, COLUMNS, rows.values())
    for old in pathlib.Path(folder).glob(f"round{number}.{name}.??????????.csv"):
        if old != made:
            old.unlink()
    return made


def write_table(path: PathLike, rows: Iterable[object], kind: type) -> None:
    """Write instances of a dataclass as CSV, one column a field."""
    fields = [field.name for field in dataclasses.fields(kind)]
    cells = ([_describe(getattr(row, field)) for field in fields] for row in rows)
    csv_rows.write(path, fields, cells)


def _describe(value: object) -> object:
    return f"{value:.6g}" if isinstance(value, float) else value


def write_truth(path: PathLike, truth: dict[str, str]) -> None:
    """Write `id,label` of hidden classes, for measuring only."""
    csv_rows.write(path, ("id", "label"), truth.items())


def read_truth(path: PathLike) -> dict[str, str]:
    """Read what `write_truth` wrote.

    Raises:
        DataError: it cannot be read, lacks a column, or an id stands twice.
    """
    return read_labels(path, allow_empty=True)
