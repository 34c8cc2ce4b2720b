"""MATLAB files of version 7 and before, as plain dicts, lists and arrays."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import DataError, refuse_exhausted
from ..io.paths import PathLike

HDF5 = b"\x89HDF\r\n\x1a\n"  # a file of MATLAB 7.3, behind its 512 bytes of text


def read_mat(path: PathLike, *names: str) -> dict[str, Any]:
    """Variables of a .mat file: a struct is a dict, an array of structs a list of dicts.

    Args:
        path: the file.
        names: the variables.

    Raises:
        DataError: the file is not there, is of another kind, or lacks a variable.
    """
    from scipy.io import loadmat  # a tenth of a second that only readers of .mat pay

    try:
        newer = is_hdf5(path)
        page = {} if newer else loadmat(path, simplify_cells=True, variable_names=list(names))
    except OSError as error:
        refuse_exhausted(error, path)
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    except Exception as error:  # its reader raises whatever damaged bytes lead it to
        raise DataError(f"{path}: not a MATLAB file ({error})") from error
    missing = [name for name in names if name not in page]
    if missing:
        kind = "is a file of MATLAB 7.3 (HDF5)" if newer else f"has no {missing[0]}"
        raise DataError(f"{path}: {kind}; expected the variables {', '.join(names)}")
    return page


def is_hdf5(path: PathLike) -> bool:
    """Whether a file is of MATLAB 7.3, which is HDF5 behind 512 bytes of text."""
    with pathlib.Path(path).open("rb") as file:
        starts = file.read(len(HDF5))
        file.seek(512)
        return HDF5 in (starts, file.read(len(HDF5)))


def as_rows(value: Any) -> list[dict[str, Any]]:
    """The structs of an array; one alone is read as a dict."""
    return [dict(value)] if isinstance(value, Mapping) else [dict(one) for one in value]


def as_texts(value: Any) -> list[str]:
    """The texts of a cell array; one alone is read as it is."""
    return [value] if isinstance(value, str) else [str(one) for one in value]


def as_numbers(value: Any) -> np.ndarray:
    """The whole numbers of an array, int64 [N]."""
    return np.atleast_1d(np.asarray(value)).ravel().astype(np.int64)


def take_fields(row: Mapping[str, Any], names: Sequence[str], where: str) -> list[Any]:
    """Fields of a struct.

    Raises:
        DataError: it has not all of them.
    """
    missing = [name for name in names if name not in row]
    if missing:
        raise DataError(f"{where}: expected {', '.join(names)}, found {', '.join(row) or 'none'}")
    return [row[name] for name in names]
