"""The keys of a plan-like file: which there are, of what kind each is, and calls that name a
part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import UsageError
from ..io.yaml_lines import Document
from ..registry import Registry, build

NUMBER, WORD, SWITCH, LIST, MAP, NUMBERS = (
    "a number",
    "text",
    "true or false",
    "a list",
    "a mapping",
    "number or list",
)


def check_keys(
    document: Document, values: Mapping[str, Any], known: Mapping[str, str], prefix: str = ""
) -> None:
    """Refuse a key or a kind of value that nobody reads.

    Args:
        document: the file.
        values: a mapping in it.
        known: key -> NUMBER, WORD, SWITCH, LIST, MAP or NUMBERS (one, or a list of some).
        prefix: what stands before the keys of the mapping, "STEPS[0].".

    Raises:
        UsageError: names the file and the line.
    """
    for key, value in values.items():
        where = document.where(f"{prefix}{key}")
        if key not in known:
            raise UsageError(f"{where}: there is no key {prefix}{key}; known: {', '.join(known)}")
        if not _is(value, known[key]):
            raise UsageError(f"{where}: {prefix}{key} must be {known[key]}, got {value!r}")


def checked_calls(
    document: Document, key: str, calls: Sequence[Any], registry: Registry[Any]
) -> tuple[str, ...]:
    """The calls of a list, each of which builds a part of the registry.

    Raises:
        UsageError: one does not; names the file and the line.
    """
    for number, call in enumerate(calls):
        try:
            build(str(call), registry)
        except UsageError as error:
            raise UsageError(f"{document.where(f'{key}[{number}]')}: {error}") from error
    return tuple(map(str, calls))


def _is(value: Any, kind: str) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return {
        NUMBER: number,
        WORD: isinstance(value, str),
        SWITCH: isinstance(value, bool),
        LIST: isinstance(value, list),
        MAP: isinstance(value, dict),
        NUMBERS: (
            number
            or isinstance(value, list)
            and value != []
            and all(_is(one, NUMBER) for one in value)
        ),
    }[kind]
