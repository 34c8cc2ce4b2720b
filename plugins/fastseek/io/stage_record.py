"""One step of one round on disk: finished when its files are those its record names."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

from ..errors import DataError
from .digests import sha256
from .json_files import read_json, write_json

RECORD, FORMAT = "stage.json", 1


@dataclasses.dataclass(frozen=True)
class Stage:
    """A finished step.

    Args:
        folder: where it lies.
        digest: of everything that shapes it.
        files: name below the folder -> SHA-256.
        told: what it tells: "row" of results.json, and what other steps want to know.
    """

    folder: pathlib.Path
    digest: str
    files: Mapping[str, str]
    told: Mapping[str, Any]

    @property
    def mark(self) -> str:
        """What a step that rests on this one rests on."""
        return digest({"digest": self.digest, "files": dict(self.files)})

    def path(self, start: str) -> pathlib.Path:
        """The file whose name starts so."""
        return self.folder / next(name for name in sorted(self.files) if name.startswith(start))


def digest(told: Any) -> str:
    """SHA-256 over JSON values."""
    return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()


def is_finished(folder: pathlib.Path, wanted: str) -> Stage | None:
    """The step in a folder, if it is finished, of this digest, and all of its files are as they
    were written.
    """
    try:
        found = read_json(folder / RECORD)
        files = found["files"]
        if (found["format"], found["digest"]) != (FORMAT, wanted):
            return None
        if any(
            not (folder / name).is_file() or sha256(folder / name) != hashed
            for name, hashed in files.items()
        ):
            return None
        return Stage(folder, wanted, files, found["told"])
    except (DataError, KeyError, TypeError):
        return None


def finish(
    folder: pathlib.Path, wanted: str, files: Iterable[pathlib.Path], told: Mapping[str, Any]
) -> Stage:
    """Write the record of a step, last of all."""
    hashed = {path.relative_to(folder).as_posix(): sha256(path) for path in files}
    write_json(
        folder / RECORD, {"format": FORMAT, "digest": wanted, "files": hashed, "told": dict(told)}
    )
    return Stage(folder, wanted, hashed, told)
