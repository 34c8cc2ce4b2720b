"""Files that are either whole or absent, and where the data lives."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pathlib
from collections.abc import Iterator
from typing import IO, Any

from .errors import DataError

PathLike = str | os.PathLike[str]


@contextlib.contextmanager
def atomic(path: PathLike, mode: str = "wb") -> Iterator[IO[Any]]:
    """Open a temporary neighbour of `path` and rename it over `path` when the block ends well.

    A killed or failing writer leaves the old file as it was; the reader never sees half a file.

    Args:
        path: the final name; its folder is made when missing.
        mode: "wb" or "w".
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    text = {} if "b" in mode else {"encoding": "utf-8", "newline": "\n"}
    try:
        with open(temporary, mode, **text) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_json(path: PathLike, value: Any) -> None:
    """Write `value` as indented JSON with sorted keys, atomically."""
    with atomic(path, "w") as file:
        json.dump(value, file, indent=1, sort_keys=True, allow_nan=False)
        file.write("\n")


def read_json(path: PathLike) -> Any:
    """Read a JSON file.

    Raises:
        DataError: the file is missing or is not JSON; names the file and the line.
    """
    try:
        return json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not a JSON file ({error})") from error


def sha256(path: PathLike) -> str:
    """SHA-256 of a file's bytes, as hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def data_roots() -> list[pathlib.Path]:
    """The folders searched for data, in order: FASTREID_DATASETS, ../shared/data, ~/.cache/fastseek."""
    named = os.environ.get("FASTREID_DATASETS")
    rest = [pathlib.Path("../shared/data"), pathlib.Path.home() / ".cache" / "fastseek"]
    return ([pathlib.Path(named)] if named else []) + rest


def locate(name: PathLike, purpose: str = "it") -> pathlib.Path:
    """Find a file or folder: as it stands, else below the first of `data_roots` that has it.

    Raises:
        DataError: found nowhere; says in one line where it was looked for and where to put it.
    """
    candidates = [pathlib.Path(name)] + [root / name for root in data_roots()]
    for candidate in candidates:
        if candidate.exists():
            return candidate
    looked = ", ".join(str(root) for root in data_roots())
    raise DataError(f"{name} not found (for {purpose}): put it below one of {looked}, or set FASTREID_DATASETS")
