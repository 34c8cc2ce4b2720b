"""What is finished of a job: a file of vectors for every shard or piece of one, and beside it the
JSON that makes it count.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import ArtefactError
from ..io.json_files import read_json, write_json
from .embedding_job import Piece
from .embeddings import save_shard
from .known_digests import check_digest
from .shard_files import map_array, read_checked, read_header

COLUMNS = ("path", "row", "phase", "code", "detail", "sha256", "bytes")

Reject = Mapping[str, Any]
Outcome = tuple[str, np.ndarray] | Reject
Record = dict[str, Any]  # "entry" of the manifest, {} without a vector; "ids"; "rejects"


def is_finished(folder: pathlib.Path, name: str) -> bool:
    """Whether a shard or piece is there and whole, by its hashes."""
    path = folder / f"{name}.json"
    if not path.exists():
        return False
    entry = read_json(path)["entry"]
    return all(
        _has_digest(folder / entry[kind], entry[f"{kind}_sha256"])
        for kind in ("ids", "vectors")  # the ids of an older version's
        if kind in entry
    )


def _has_digest(file: pathlib.Path, digest: str) -> bool:
    """Whether a file's bytes are those that were written; whoever reads it next need not ask again."""
    try:
        check_digest(file, digest)
    except ArtefactError as error:
        if isinstance(error.__cause__, OSError) and file.exists():
            raise
        return False
    return True


def write_piece(
    folder: pathlib.Path, piece: Piece, outcomes: Iterable[Outcome], dtype: str
) -> None:
    """Write the vectors of a piece, then the JSON that makes it count; vectors that are not finite,
    or zero, join the rejects.
    """
    ids: list[str] = []
    vectors: list[np.ndarray] = []
    rejects: list[dict[str, str]] = []
    for row, outcome in zip(piece.items, outcomes, strict=True):
        if isinstance(outcome, Mapping):
            rejects.append(_spell_reject(outcome))
            continue
        name, vector = str(outcome[0]), _cast(outcome[1], dtype)
        fault = _find_fault(vector)
        if fault:
            told = {"path": name, "row": row, "phase": "embed", "detail": fault}
            rejects.append(_spell_reject({**told, "code": "NONFINITE_EMBEDDING"}))
            continue
        ids.append(name)
        vectors.append(vector)
    entry = save_shard(folder, piece.name, np.stack(vectors)) if ids else {}
    _write(folder, piece.name, {"entry": entry, "ids": ids, "rejects": rejects})


def join_pieces(folder: pathlib.Path, name: str, pieces: Sequence[Piece]) -> None:
    """Make a shard of its pieces, which are all there; they are removed."""
    records = [read_json(folder / f"{piece.name}.json") for piece in pieces]
    files = [folder / record["entry"]["vectors"] for record in records if record["entry"]]
    joined = save_shard(folder, name, np.concatenate(list(map(map_array, files)))) if files else {}
    lists = {key: [one for record in records for one in record[key]] for key in ("ids", "rejects")}
    _write(folder, name, {"entry": joined, **lists})
    remove_pieces(folder, (piece.name for piece in pieces))


def remove_pieces(folder: pathlib.Path, names: Iterable[str]) -> None:
    """Remove what is left of pieces that are part of a whole shard."""
    for name in names:
        for end in ("json", "vectors.npy"):
            (folder / f"{name}.{end}").unlink(missing_ok=True)


def read_record(folder: pathlib.Path, name: str) -> Record:
    """What is known of a finished shard; that of an older version is written anew."""
    record: Record = read_json(folder / f"{name}.json")
    if "ids" in record:
        return record
    old, record["ids"] = record["entry"], []
    if old:
        record["ids"] = read_checked(str(folder / old["ids"]), old["ids_sha256"]).tolist()
        file = folder / old["vectors"]
        header = read_header(str(file))
        kept = {key: old[key] for key in ("rows", "vectors", "vectors_sha256")}
        new = {"dim": header.shape[1], "dtype": header.dtype.name, "bytes": os.path.getsize(file)}
        record["entry"] = {**kept, **new}
    _write(folder, name, record)
    with contextlib.suppress(FileNotFoundError, KeyError):
        (folder / old["ids"]).unlink()
    return record


def _write(folder: pathlib.Path, name: str, record: Record) -> None:
    write_json(folder / f"{name}.json", record)


def _cast(vector: np.ndarray, dtype: str) -> np.ndarray:
    with np.errstate(over="ignore"):
        return np.asarray(vector).astype(dtype)


def _find_fault(vector: np.ndarray) -> str:
    if not np.isfinite(vector).all():
        return f"{int((~np.isfinite(vector)).sum())} of {len(vector)} values are not finite"
    return "" if vector.any() else "all values are zero"


def _spell_reject(reject: Reject) -> dict[str, str]:
    return {column: str(reject.get(column, "")) for column in COLUMNS}
