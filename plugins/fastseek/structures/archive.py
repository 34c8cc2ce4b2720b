"""What the nouns share: passports, unique ids, and .npz files that are whole or refused."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import ArtefactError, DataError
from ..files import PathLike, atomic

Passport = Mapping[str, Any]


def unique_ids(ids: Any, what: str) -> np.ndarray:
    """The ids as an array of strings.

    Raises:
        DataError: one stands twice.
    """
    ids = np.asarray(ids, str)
    values, counts = np.unique(ids, return_counts=True)
    if len(values) != len(ids):
        raise DataError(f"{what}: id {str(values[counts.argmax()])!r} stands {counts.max()} times, must be once")
    return ids


def save_npz(path: PathLike, noun: Any, names: Sequence[str], passport: Passport) -> None:
    """Write the named arrays of a noun and its passport as an .npz file."""
    arrays = {name: np.asarray(getattr(noun, name)) for name in names}
    with atomic(path) as file:
        np.savez(file, passport=np.asarray(json.dumps(dict(passport), sort_keys=True)), **arrays)


def load_npz(path: PathLike, names: Sequence[str]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read the named arrays and the passport of an .npz file.

    Raises:
        DataError: it is missing, or holds something else. ArtefactError: it is damaged.
    """
    try:
        loaded = np.load(path, allow_pickle=False)
        if not isinstance(loaded, np.lib.npyio.NpzFile):
            raise DataError(f"{path}: one array, expected an .npz file with {', '.join(names)}")
        with loaded as file:
            missing = [name for name in names if name not in file]
            if missing:
                raise DataError(f"{path}: lacks {', '.join(missing)}; it holds {', '.join(file.files)}")
            passport = json.loads(str(file["passport"])) if "passport" in file else {}
            return {name: file[name] for name in names}, passport
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except DataError:
        raise
    except Exception as error:  # a flipped byte can make zipfile and numpy raise nearly anything
        raise ArtefactError(f"{path}: not a whole .npz file ({error})") from error
