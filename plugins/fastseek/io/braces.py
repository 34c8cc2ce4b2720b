"""Names that stand for several, with braces as of a shell."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from ..errors import UsageError

# Braces around one word stand for themselves, as in a shell.
_BRACES = re.compile(r"\{([^{}]*,[^{}]*|\d+\.\.\d+)\}")


def expand_braces(pattern: str, most: int = 1_000_000) -> Iterator[str]:
    """Yield the names that a pattern as of a shell stands for: "{a,b}" and "{000..127}".

    Raises:
        UsageError: they are more than `most`.
    """
    for number, name in enumerate(_expand(pattern)):
        if number >= most:
            raise UsageError(f"{pattern}: stands for more than {most:,} names")
        yield name


def _expand(pattern: str) -> Iterator[str]:
    found = _BRACES.search(pattern)
    if found is None:
        yield pattern
        return
    run = re.fullmatch(r"(\d+)\.\.(\d+)", found[1])
    parts: Iterable[str] = found[1].split(",")
    if run is not None:
        first, last = int(run[1]), int(run[2])
        step = 1 if last >= first else -1
        width = len(run[1]) if run[1].startswith("0") or len(run[1]) == len(run[2]) else 0
        parts = (f"{one:0{width}d}" for one in range(first, last + step, step))
    for part in parts:
        yield from _expand(pattern[: found.start()] + part + pattern[found.end() :])
