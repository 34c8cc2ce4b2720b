"""A benchmark by name, call string or folder -> its data set."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

from ...data.own_images import spell_data_set
from ...errors import UsageError
from ...io.paths import PathLike
from ...registry import DATASETS, build, parse, suggest_names, unparse


class Opened(NamedTuple):
    """A data set that is scored.

    Args:
        name: of its part in DATASETS.
        call: the call string it was built with.
        data: what DATASETS built.
    """

    name: str
    call: str
    data: Any


def open_benchmark(name: str, root: PathLike | None = None) -> Opened:
    """Build the data set of a benchmark.

    Args:
        name: a member of DATASETS, with its arguments or without, or a folder whose layout is known.
        root: the folder of a member whose call string tells none.

    Raises:
        UsageError: nothing is called so. DataError: its files are not there; names them.
    """
    call = _spell(name, root)
    return Opened(parse(call)[0], call, build(call, DATASETS))


def _spell(name: str, root: PathLike | None) -> str:
    if os.path.isdir(name) and "(" not in name and name not in DATASETS:
        if root is not None:
            raise UsageError(f"{name} is a folder itself: leave out --root")
        return spell_data_set(name)
    if "(" in name:
        return name if root is None else _fill_in_root(name, root)
    if name not in DATASETS:
        raise UsageError(
            f"no benchmark is called {name!r}, and no folder{suggest_names(name, DATASETS.names())}"
        )
    return unparse(name, [], {} if root is None else {"root": os.fspath(root)})


def _fill_in_root(call: str, root: PathLike) -> str:
    """The call string with the folder as its root."""
    name, args, kwargs = parse(call)
    if args or "root" in kwargs:
        raise UsageError(f"{call} tells its folder itself: leave out --root")
    return unparse(name, args, {"root": os.fspath(root), **kwargs})
