"""Files that commands write: what stands there already, and rankings as tables."""

from __future__ import annotations

import json
import os
import pathlib
import re
import shlex
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from ..errors import UsageError
from ..io.atomic import check_apart
from ..io.paths import PathLike
from ..structures import Ranking
from ..structures.embeddings_writer import find_foreign
from ..structures.identity import root_of
from ..structures.label_file import read_labels

HEAD = 4096  # bytes of a file that tell its kind
TABLES = (".csv", ".json", ".jsonl")
PAGE = ".html"
# What a run writes at the top of its folder.
RUN_FILES = {"report.html": "page", "ranking.npz": "ranking", "results.json": "results"}
COMPARED = {"a", "b", "difference", "interval"}  # what diff tells of a metric
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


def check_run_folder(out: PathLike, files: Mapping[str, str] = RUN_FILES) -> None:
    """Check that what a run would write anew into its folder is not there yet, or is a run's.

    Args:
        out: the folder.
        files: names in it, each with the kind that `check_replaceable` takes.

    Raises:
        UsageError: a file of something else is there.
    """
    for name, kind in files.items():
        try:
            check_replaceable(pathlib.Path(out) / name, kind)
        except UsageError as error:
            raise UsageError(
                f"{out} is there and holds {name!r}, which no run of FastSeek has written: name"
                " another folder"
            ) from error


def check_folder(out: PathLike | None, force: bool | None = None) -> None:
    """Check that a folder is new or empty, or holds embeddings or class probabilities.

    Args:
        out: the folder; None for none.
        force: whether they are put beside anything; None where the verb has no such option.

    Raises:
        UsageError: it holds something else.
    """
    foreign = "" if out is None or force else find_foreign(out, r"predictions\.\w+")
    if foreign:
        raise UsageError(
            f"{out} is there and holds {foreign!r}, which is no file of embeddings: name another"
            f" folder{'' if force is None else ', or say --force'}"
        )


class Beside(NamedTuple):
    """What is told beside the answers of a ranking.

    Args:
        labels: a CSV file with the columns id and label of the gallery, for a table.
        images: folders the ids are relative to, for a page.
    """

    labels: PathLike | None = None
    images: Sequence[PathLike] = ()


NOTHING = Beside()


def check_ranking_suffix(out: PathLike, beside: Beside = NOTHING) -> None:
    """Check that a ranking can be written under a name.

    Raises:
        UsageError: its suffix says another kind of file, or one that has no room for the labels or
            images.
    """
    suffix = pathlib.Path(out).suffix
    if suffix not in ("", ".npz", *TABLES, PAGE):
        raise UsageError(
            f"{out}: a ranking is written as .npz, {', '.join(TABLES)} or {PAGE}: name one"
        )
    if beside.labels is not None and suffix not in TABLES:
        raise UsageError(f"{out}: labels are written into {', '.join(TABLES)} only")
    if beside.images and suffix != PAGE:
        raise UsageError(f"{out}: images are shown in a page only: name a {PAGE} file")


def save_ranking(ranking: Ranking, out: PathLike, beside: Beside = NOTHING) -> str:
    """Write a ranking in the form that the suffix of its name says, whole or not at all.

    The tables have a row an answer: query, rank from 1, id, path ("" where no such file is known),
    score, and the label where labels are given ("" where an image has none).

    Args:
        ranking: what is written.
        out: .npz or no suffix (with the provenance), .csv, .json (a list of objects), .jsonl, or
            .html, a page that `fastseek report` makes without a truth.
        beside: labels for a table, folders of images for a page.

    Returns:
        what is to be told of the labels or images; mostly nothing.

    Raises:
        UsageError: as for `check_ranking_suffix`. DataError: the labels cannot be read.
    """
    check_ranking_suffix(out, beside)
    suffix = pathlib.Path(out).suffix
    if suffix == PAGE:
        from ..report import neighbors_page  # other answers need no Pillow

        neighbors_page(ranking, list(beside.images), out)
        return say_images(ranking, beside.images)
    known = None
    if beside.labels is not None:
        known = read_labels(beside.labels, "gallery", allow_empty=True)
    if suffix == ".csv":
        ranking.to_csv(out, known)
    elif suffix in TABLES:
        ranking.to_json(out, known)
    else:
        ranking.save(out)
    missing = 0 if known is None else sum(one not in known for one in ranking.gallery_ids.tolist())
    total = len(ranking.gallery_ids)
    return f"; {missing} of {total} images have no label in {beside.labels}" if missing else ""


def describe_ranking(ranking: Ranking, out: PathLike) -> str:
    """A line telling how many queries have how many answers, and where they are."""
    count, depth = ranking.indices.shape
    asked = f"{count} {'query' if count == 1 else 'queries'}"
    return f"{asked}, {depth} of {len(ranking.gallery_ids)} images each: {out}"


def say_images(ranking: Ranking, images: Sequence[PathLike]) -> str:
    """What is to be told of the folders of images of a page: those that are not there, or, where none
    is given, what to add. Folders that a ranking names are not looked into unasked, for it may come
    from a stranger.
    """
    if images:
        missing = [str(folder) for folder in images if not os.path.isdir(folder)]
        return f" (no such folder of images: {', '.join(missing)})" if missing else ""
    sides = ("queries", "gallery")
    roots = [root_of(ranking.provenance, side) for side in sides]
    named = dict.fromkeys(root for root in roots if os.path.isabs(root))
    options = " ".join(f"--images {shlex.quote(root)}" for root in named)
    return f" (without images; to show them add {options})" if options else ""


def _is_ranking(path: pathlib.Path, head: bytes) -> bool:
    return (
        _has_members(path, {"indices.npy", "scores.npy"})
        or _starts_with(head, "query,rank,id")
        or re.match(rb'\s*\[?\s*\{"query": ', head) is not None
        or path.suffix == ".json"
        and head.strip() == b"[]"
        or path.suffix == PAGE
        and _is_page(path, head)
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
    """What score and diff write, figures by the name of a metric with how each came about; or what
    blend and audit do.
    """
    try:
        page = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        return False
    if not isinstance(page, dict) or not page:
        return False
    if {"members", "weights", "scored"} <= set(page) or {"groups", "tau", "classes"} <= set(page):
        return True
    protocol = page.get("protocol")
    if isinstance(protocol, dict):
        return set(protocol) == set(page) - {"protocol"}
    return all(isinstance(one, dict) and COMPARED <= set(one) for one in page.values())


def _is_model(path: pathlib.Path, head: bytes) -> bool:
    """An ONNX file of torch begins with its version and producer; a .pt2 file is an archive."""
    onnx = head[:1] == b"\x08" and b"pytorch" in head[:64]
    return onnx or path.suffix == ".pt2" and zipfile.is_zipfile(path)


def _is_adapter(path: pathlib.Path, head: bytes) -> bool:
    """A .safetensors file begins with its metadata, in which ours is a JSON string."""
    return rb"\"kind\": \"adapter\"" in head


def _is_results(path: pathlib.Path, head: bytes) -> bool:
    """What a run, a training, an adapter or a report of a classifier has reached."""
    try:
        page = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        return False
    told = {"commit", "seed"} <= set(page) if isinstance(page, dict) else False
    return told and bool({"rows", "metrics"} & set(page))


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
    "results": _is_results,
    "model": _is_model,
    "adapter": _is_adapter,
}
