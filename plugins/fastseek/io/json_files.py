"""JSON files that are whole or absent, and errors that name them."""

from __future__ import annotations

import json
import pathlib
from typing import Any

from ..errors import DataError, refuse_exhausted
from .atomic import atomic
from .paths import PathLike


def write_json(path: PathLike, value: Any, keep_order: bool = False) -> None:
    """Write `value` as indented JSON, atomically.

    Args:
        path: the file.
        value: JSON values.
        keep_order: keys stay in their order; else they are sorted.
    """
    with atomic(path, "w") as file:
        json.dump(value, file, indent=1, sort_keys=not keep_order, allow_nan=False)
        file.write("\n")


def read_json(path: PathLike) -> Any:
    """Read a JSON file.

    Raises:
        DataError: the file is missing or is not JSON; names the file and the line.
    """
    try:
        return json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        refuse_exhausted(error, path)
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    except (
        ValueError,
        RecursionError,
    ) as error:  # no JSON, no UTF-8, a number or a nesting beyond all measure
        raise DataError(f"{path}: not a JSON file ({error})") from error
