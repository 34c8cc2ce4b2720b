"""Files that are there already: only those of a kind that FastSeek writes are replaced unasked."""

from __future__ import annotations

import json
import pathlib
import re
import zipfile
import zlib
from collections.abc import Callable, Iterable
from typing import Any

from ..errors import UsageError
from .atomic import check_apart
from .csv_rows import GZIP
from .paths import PathLike

HEAD = 4096  # bytes of a file that tell its kind
PAGE = ".html"
COMPARED = {"a", "b", "difference", "interval"}  # what diff tells of a metric
# The tables that commands write, by their first columns.
HEADERS = (
    *("query,rank,id", "query,overlap,disagrees", "path,class,share,sigma"),
    *("landmark_id,images", "id,images", "id,landmarks"),
    *("id,cluster,nearest,score,inliers", "id,nearest,score,inliers"),
    "code,numbers,bytes",
    *("filename,cultivar", "Id,Predicted", "Id,Category"),
)


def check_replaceable(
    out: PathLike | None,
    kind: str,
    force: bool = False,
    inputs: Iterable[PathLike | None] = (),
    advice: str = "say --force",
) -> None:
    """Check that an output is not there yet, or is a file of the kind that is written.

    Args:
        out: the output; None or "-" for none.
        kind: one of KINDS, or "table a,b,…" for a CSV file with that header.
        force: whether anything is replaced.
        inputs: as for `check_apart`; an output that is one is told as such.
        advice: how the error says that force is asked for.

    Raises:
        UsageError: a file of another kind is there, or the output is an input.
    """
    if out is None or out == "-":
        return
    check_apart(out, inputs)
    path = pathlib.Path(out)
    if force or not path.is_file() or not path.stat().st_size:
        return
    head = _read_head(path)
    columns = kind.startswith("table ")
    name, header = ("table", kind.removeprefix("table ")) if columns else (kind, "")
    known = _is_table(path, head) if header else KINDS[name](path, head)
    if not (known or header and _starts_with(head, header)):
        raise UsageError(
            f"{out} is there and is no {name} of FastSeek: name another file, or {advice} to"
            " replace it"
        )


def check_written_over(out: PathLike, kind: str, force: bool) -> None:
    """`check_replaceable` for a function of the Python API, which has an argument `force`."""
    check_replaceable(out, kind, force, advice="pass force=True")


def _read_head(path: pathlib.Path) -> bytes:
    """The first bytes of a file, unpacked where it is one of gzip."""
    with open(path, "rb") as file:
        head = file.read(HEAD)
    if not head.startswith(GZIP):
        return head
    try:
        return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(head, HEAD)
    except zlib.error:
        return head


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
    blend, audit and codes do.
    """
    page = _read_page(path)
    if set(page) == {"rows", "codes_of"}:
        return True
    if {"members", "weights", "scored"} <= set(page) or {"groups", "tau", "classes"} <= set(page):
        return True
    protocol = page.get("protocol")
    if isinstance(protocol, dict):
        return set(protocol) == set(page) - {"protocol"}
    compared = all(isinstance(one, dict) and COMPARED <= set(one) for one in page.values())
    return bool(page) and compared


def _read_page(path: pathlib.Path) -> dict[str, Any]:
    """A JSON object, empty where the file holds none."""
    try:
        page = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        return {}
    return page if isinstance(page, dict) else {}


def _is_model(path: pathlib.Path, head: bytes) -> bool:
    """An ONNX file of torch begins with its version and producer; a .pt2 file is an archive."""
    onnx = head[:1] == b"\x08" and b"pytorch" in head[:64]
    return onnx or path.suffix == ".pt2" and zipfile.is_zipfile(path)


def _is_adapter(path: pathlib.Path, head: bytes) -> bool:
    """A .safetensors file begins with its metadata, in which ours is a JSON string."""
    return rb"\"kind\": \"adapter\"" in head


def _is_results(path: pathlib.Path, head: bytes) -> bool:
    """What a run, a training, an adapter or a report of a classifier has reached."""
    page = _read_page(path)
    return {"commit", "seed"} <= set(page) and bool({"rows", "metrics"} & set(page))


def _is_cost_card(path: pathlib.Path, head: bytes) -> bool:
    """What plan reckons of a job."""
    return {"job", "embedding", "disk", "engines"} <= set(_read_page(path))


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
    "cost card": _is_cost_card,
}
