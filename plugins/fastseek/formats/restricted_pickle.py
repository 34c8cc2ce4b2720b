"""Pickles of plain values and arrays, read without letting them run anything.

A pickle names functions to be called, so a foreign one can do what it likes, and even numpy's own
can be made to read memory that is not theirs. Here every name an array needs stands for a function
of this file, and no other name is known.
"""

from __future__ import annotations

import math
import pickle
import re
from typing import Any

import numpy as np

from ..errors import DataError, refuse_exhausted
from ..io.paths import PathLike

CODES = re.compile(
    r"[?]|b1|[iu][1248]|f[248]|[SU]\d{1,6}|O8?"
)  # truth values, numbers, text, lists


def load(path: PathLike) -> Any:
    """The value in a pickle: numbers, text, None, lists, tuples, dicts, and numpy arrays and
    scalars of these.

    Raises:
        DataError: the file cannot be read, or is no such pickle; says what it asks for.
    """
    try:
        with open(path, "rb") as file:
            return _plain(_Reader(file, encoding="latin1").load())
    except OSError as error:
        refuse_exhausted(error, path)
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    except Exception as error:  # what is no pickle can fail in any way at all
        raise DataError(
            f"{path}: not a pickle of plain lists and arrays ({type(error).__name__}: {error})"
        ) from error


class _Dtype:
    """What stands for numpy.dtype: a kind of number or text, no more."""

    def __init__(self, code: str, align: bool = False, copy: bool = False) -> None:
        if not isinstance(code, str) or not CODES.fullmatch(code):
            raise pickle.UnpicklingError(f"it holds an array of {code!r}")
        self.code, self.order = code, "="

    def __setstate__(self, state: tuple) -> None:
        self.order = state[1] if state[1] in ("<", ">") else "="

    def array(self, data: Any, shape: tuple, fortran: bool) -> np.ndarray | list:
        """The array of this kind with these bytes; a list when it holds objects."""
        if self.code.startswith("O"):
            return list(data)
        data = data.encode("latin1") if isinstance(data, str) else bytes(data)
        count = math.prod(int(side) for side in shape)
        kind = np.dtype(self.order + self.code)
        if len(data) != count * kind.itemsize:
            raise pickle.UnpicklingError(f"an array of {count} values has {len(data)} bytes")
        flat = np.frombuffer(data, kind) if count else np.empty(0, kind)
        return flat.reshape(shape, order="F" if fortran else "C")


class _Array:
    """What stands for an array until its state is known."""

    value: Any = None

    def __setstate__(self, state: tuple) -> None:
        _, shape, dtype, fortran, data = state
        self.value = dtype.array(data, shape, fortran)


class _Ndarray:
    """What stands for the class numpy.ndarray; it is only named, never made."""


def _reconstruct(kind: Any, shape: Any, code: Any) -> _Array:
    return _Array()


def _scalar(dtype: _Dtype, data: Any = b"") -> Any:
    if dtype.code.startswith("O"):
        return data
    return list(dtype.array(data, (1,), False))[0]


def _frombuffer(data: Any, dtype: _Dtype, shape: tuple, order: str) -> Any:
    return dtype.array(data, shape, order == "F")


def _encode(text: str, encoding: str = "latin1") -> bytes:
    return str(text).encode("latin1")


def _nothing() -> bytes:
    return b""


KNOWN = {
    ("numpy", "ndarray"): _Ndarray,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _encode,
    ("__builtin__", "bytes"): _nothing,
    ("builtins", "bytes"): _nothing,
}
for _core in ("numpy.core", "numpy._core"):  # numpy 2 has moved them
    KNOWN |= {
        (f"{_core}.multiarray", "_reconstruct"): _reconstruct,
        (f"{_core}.multiarray", "scalar"): _scalar,
        (f"{_core}.numeric", "_frombuffer"): _frombuffer,
    }


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in KNOWN:
            raise pickle.UnpicklingError(
                f"it asks for {module}.{name}, and nothing in a pickle is run"
            )
        return KNOWN[module, name]

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("it refers to something outside")


def _plain(value: Any) -> Any:
    """The value with arrays as nested lists."""
    if isinstance(value, _Array):
        value = value.value
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, dict):
        return {_plain(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if value is None or isinstance(value, bool | int | float | str | bytes):
        return value
    raise pickle.UnpicklingError(f"it holds a {type(value).__name__}")
