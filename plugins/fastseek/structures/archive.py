"""What the nouns share: provenances, unique ids, and .npz files that are whole or refused."""

from __future__ import annotations

import contextlib
import json
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import ArtefactError, DataError, FastSeekError, refuse_exhausted, shorten_value
from ..io.atomic import atomic
from ..io.paths import PathLike
from .arrays import FloatArray, IntArray, StringArray

Provenance = Mapping[str, Any]


@contextlib.contextmanager
def describe_file(path: PathLike) -> Iterator[None]:
    """Put the file before whatever an error inside says, unless it names it already."""
    try:
        yield
    except FastSeekError as error:
        raise error if str(path) in str(error) else type(error)(f"{path}: {error}") from error


def check_open(path: PathLike) -> None:
    """Check that a file can be opened, so that what fails later is its content.

    Raises:
        DataError: it is missing, a folder, or not to be read by this user.
    """
    try:
        open(path, "rb").close()
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except OSError as error:
        refuse_exhausted(error, path)
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error


def strings(values: Any, what: str) -> StringArray:
    """A list as an array of strings [N].

    Raises:
        DataError: it is no list, or holds bytes that are no ASCII, or a string ends with a zero byte.
    """
    # An array loses the zero bytes at the end of its strings, and so would name something else.
    if isinstance(values, (list, tuple)):
        _refuse_zero_ends(values, what)
    try:
        made = np.asarray(values, str)
    except (TypeError, ValueError) as error:
        raise DataError(f"{what}: not a list of strings ({error})") from error
    if made.ndim != 1:
        raise DataError(f"{what}: expected a list of strings, got an array {made.shape}")
    return made


def _refuse_zero_ends(values: Sequence[Any], what: str) -> None:
    bad = next((one for one in values if isinstance(one, str) and one.endswith("\0")), None)
    if bad is not None:
        raise DataError(f"{what}: {shorten_value(bad)} ends with a zero byte: call it otherwise")


def whole_numbers(values: Any, what: str) -> IntArray:
    """Numbers as int64.

    Raises:
        DataError: one is no whole number that int64 holds.
    """
    given = _numbers(values, what)
    with np.errstate(invalid="ignore"):  # what has no int64 differs from what it was
        made: IntArray = given.astype(np.int64, copy=False)
    if given.dtype.kind not in "bi" and not np.array_equal(made, given):
        raise DataError(f"{what}: {given[made != given][0]} is not a whole number of 64 bits")
    return made


def float32(values: Any, what: str) -> FloatArray:
    """Numbers as float32; infinity and NaN stay what they are.

    Raises:
        DataError: one is not real, or finite and beyond float32.
    """
    given = _numbers(values, what)
    with np.errstate(over="ignore"):  # told below
        made: FloatArray = given.astype(np.float32, copy=False)
    beyond = np.isinf(made) & np.isfinite(given) if given.dtype.itemsize > 4 else np.zeros(0, bool)
    if beyond.any():
        raise DataError(f"{what}: {given[beyond][0]:g} is beyond float32")
    return made


def _numbers(values: Any, what: str) -> np.ndarray:
    try:
        given = np.asarray(values)
    except ValueError as error:
        raise DataError(f"{what}: not an array of numbers ({error})") from error
    if given.dtype.kind not in "biuf":
        raise DataError(f"{what}: expected real numbers, got {given.dtype}")
    return given


def unique_ids(ids: Any, what: str) -> StringArray:
    """The ids as an array of strings.

    Raises:
        DataError: they are no list of strings, or one stands twice.
    """
    names = strings(ids, what)
    values, counts = np.unique(names, return_counts=True)
    if len(values) != len(names):
        raise DataError(
            f"{what}: id {str(values[counts.argmax()])!r} stands {counts.max()} times, must be once"
        )
    return names


def save_npz(path: PathLike, noun: Any, names: Sequence[str], provenance: Provenance) -> None:
    """Write the named arrays of a noun and its provenance as an .npz file."""
    save_arrays(path, {name: np.asarray(getattr(noun, name)) for name in names}, provenance)


def save_arrays(path: PathLike, named: Mapping[str, np.ndarray], provenance: Provenance) -> None:
    """Write some arrays and a provenance as an .npz file."""
    arrays: dict[str, Any] = dict(named)
    arrays["passport"] = np.asarray(json.dumps(dict(provenance), sort_keys=True))
    with atomic(path) as file:
        np.savez(file, **arrays)


def load_npz(
    path: PathLike, names: Sequence[str], other: Sequence[str] = ()
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read the named arrays and the provenance of an .npz file; one without provenance has an empty
    one.

    Args:
        path: the file.
        names: what it holds.
        other: what it may hold instead.

    Raises:
        DataError: it is missing, or holds something else. ArtefactError: it is damaged.
    """
    check_open(path)
    try:
        loaded = np.load(path, allow_pickle=False)
        if not isinstance(loaded, np.lib.npyio.NpzFile):
            raise DataError(f"{path}: one array, expected an .npz file with {', '.join(names)}")
        with loaded as file:
            if other and all(name in file for name in other):
                names = other
            missing = [name for name in names if name not in file]
            if missing:
                raise DataError(
                    f"{path}: lacks {', '.join(missing)}; it holds {', '.join(file.files)}"
                )
            _check_rest(file, names)
            provenance = json.loads(str(file["passport"])) if "passport" in file else {}
            if not isinstance(provenance, dict):
                raise ValueError(f"its provenance is {str(provenance)[:80]}, no JSON object")
            return {name: file[name] for name in names}, provenance
    except (DataError, MemoryError):
        raise
    except Exception as error:  # a flipped byte can make zipfile and numpy raise nearly anything
        refuse_exhausted(error, path)
        raise ArtefactError(f"{path}: not a whole .npz file ({_say_why(path, error)})") from error


def _say_why(path: PathLike, error: Exception) -> str:
    # numpy takes whatever is no archive for a pickle, and advises to load it unsafely
    with open(path, "rb") as file:
        begin = file.read(8)
    if begin[:2] == b"PK":
        return str(error)
    if pathlib.Path(path).suffix in (".csv", ".json", ".jsonl"):
        return "tables are written for other programs and not read back: name the .npz"
    return f"it begins with {begin!r}" if begin else "it is empty"


def _check_rest(file: np.lib.npyio.NpzFile, names: Sequence[str]) -> None:
    """Open what else an archive holds: a provenance whose name was damaged in the directory has
    another in its header.
    """
    archive = file.zip
    if archive is None:  # closed
        return
    for name in set(archive.namelist()) - {f"{known}.npy" for known in ("passport", *names)}:
        archive.open(name).close()
