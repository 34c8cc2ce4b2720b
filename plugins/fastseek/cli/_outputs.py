"""Files that commands write: what stands there already, and rankings as tables."""

from __future__ import annotations

import json
import pathlib
import re
import zipfile
from collections.abc import Callable, Iterable
from typing import Any

from ..errors import UsageError
from ..io.atomic import check_apart
from ..io.paths import PathLike
from ..structures import Ranking
from ..structures.label_file import read_labels

HEAD = 4096  # bytes of a file that tell its kind
TABLES = (".csv", ".json", ".jsonl")
# The tables that commands write, by their first columns.
HEADERS = (
    *("query,rank,id", "query,overlap,disagrees", "path,class,share,sigma"),
    *("landmark_id,images", "id,images", "id,landmarks"),
    *("filename,cultivar", "Id,Predicted", "Id,Category"),
)


def check_replaceable(
    out: PathLike | None, kind: str, force: bool = False, inputs: Iterable[PathLike | None] = ()
) -> None:
    """Check that an output is not there yet, or is a file of the kind that a command writes.

    Args:
        out: the output; None or "-" for none.
        kind: one of KINDS, or "table a,b,…" for a CSV file with that header.
        force: whether anything is replaced.
        inputs: as for `check_apart`; an output that is one is told as such.

    Raises:
        UsageError: a file of another kind is there, or the output is an input.
    """
    if out is None or out == "-":
        return
    check_apart(out, inputs)
    path = pathlib.Path(out)
    if force or not path.is_file() or not path.stat().st_size:
        return
    with open(path, "rb") as file:
        head = file.read(HEAD)
    name, _, header = kind.partition(" ")
    known = _is_table(path, head) if header else KINDS[name](path, head)
    if not (known or header and _starts_with(head, header)):
        raise UsageError(
            f"{out} is there and is no {name} of FastSeek: name another file, or say --force to"
            " replace it"
        )


def check_ranking_suffix(out: PathLike, labels: PathLike | None = None) -> None:
    """Check that a ranking can be written under a name.

    Raises:
        UsageError: its suffix says another kind of file, or labels are given for an .npz file.
    """
    suffix = pathlib.Path(out).suffix
    if suffix not in ("", ".npz", *TABLES):
        raise UsageError(f"{out}: a ranking is written as .npz, {', '.join(TABLES)}: name one")
    if labels is not None and suffix not in TABLES:
        raise UsageError(f"{out}: labels are written into {', '.join(TABLES)}, not into .npz")


def save_ranking(ranking: Ranking, out: PathLike, labels: PathLike | None = None) -> str:
    """Write a ranking in the form that the suffix of its name says, whole or not at all.

    The tables have a row an answer: query, rank from 1, id, path ("" where no such file is known),
    score, and the label where labels are given ("" where an image has none).

    Args:
        ranking: what is written.
        out: .npz or no suffix (with the provenance), .csv, .json (a list of objects) or .jsonl.
        labels: a CSV file with the columns id and label of the gallery.

    Returns:
        what is to be told of the labels; mostly nothing.

    Raises:
        UsageError: as for `check_ranking_suffix`. DataError: the labels cannot be read.
    """
    check_ranking_suffix(out, labels)
    suffix = pathlib.Path(out).suffix
    known = None if labels is None else read_labels(labels, "gallery", allow_empty=True)
    if suffix == ".csv":
        ranking.to_csv(out, known)
    elif suffix in TABLES:
        ranking.to_json(out, known)
    else:
        ranking.save(out)
    missing = 0 if known is None else sum(one not in known for one in ranking.gallery_ids.tolist())
    total = len(ranking.gallery_ids)
    return f"; {missing} of {total} images have no label in {labels}" if missing else ""


def _is_ranking(path: pathlib.Path, head: bytes) -> bool:
    return (
        _has_members(path, {"indices.npy", "scores.npy"})
        or _starts_with(head, "query,rank,id")
        or re.match(rb'\s*\[?\s*\{"query": ', head) is not None
        or path.suffix == ".json"
        and head.strip() == b"[]"
    )


def _is_page(path: pathlib.Path, head: bytes) -> bool:
    return b'<meta name="generator" content="FastSeek">' in head


def _is_table(path: pathlib.Path, head: bytes) -> bool:
    """A table that any command writes: one may take the place of another. DIGIX has no header:
    query,{first,second,…}.
    """
    known = any(_starts_with(head, header) for header in HEADERS)
    return known or re.match(rb"[^\r\n,]+,\{[^\r\n]*", head) is not None


def _is_figures(path: pathlib.Path, head: bytes) -> bool:
    """A JSON object of figures by the name of a metric, or what blend and audit write."""
    try:
        page = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        return False
    if not isinstance(page, dict) or not page:
        return False
    if {"members", "weights"} <= set(page) or {"groups", "classes"} <= set(page):
        return True
    return all(_is_figure(value) for name, value in page.items() if name != "protocol")


def _is_figure(value: Any) -> bool:
    return isinstance(value, (int, float)) or (
        isinstance(value, dict) and bool({"value", "difference"} & set(value))
    )


def _is_model(path: pathlib.Path, head: bytes) -> bool:
    """An ONNX file of torch begins with its version and producer; a .pt2 file is an archive."""
    onnx = head[:1] == b"\x08" and b"pytorch" in head[:64]
    return onnx or path.suffix == ".pt2" and zipfile.is_zipfile(path)


def _has_members(path: pathlib.Path, names: set[str]) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return names <= set(archive.namelist())
    except (zipfile.BadZipFile, OSError):
        return False


def _starts_with(head: bytes, header: str) -> bool:
    """Whether the first line begins with these columns."""
    lines = head.decode("utf-8", "replace").lstrip("\ufeff").splitlines()
    return bool(lines) and f"{lines[0]},".startswith(f"{header},")


# What a command writes -> whether a file is of that kind.
KINDS: dict[str, Callable[[pathlib.Path, bytes], bool]] = {
    "ranking": _is_ranking,
    "page": _is_page,
    "submission": _is_table,
    "figures": _is_figures,
    "model": _is_model,
}
