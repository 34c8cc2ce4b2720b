"""Nested settings and dotted names: "SOLVER.BASE_LR" is `cfg["SOLVER"]["BASE_LR"]`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def flatten(values: Mapping[str, Any], sign: str = ".") -> dict[str, Any]:
    """Nested mappings as one, its names joined by `sign`, in the order they stand in.

    An empty mapping is a value: its name stays.
    """
    return dict(_walk(values, "", sign))


def _walk(values: Mapping[str, Any], prefix: str, sign: str) -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _walk(value, f"{prefix}{key}{sign}", sign)
        else:
            yield f"{prefix}{key}", value


def get_value(values: Mapping[str, Any], key: str) -> Any:
    """The value of a dotted name, which may be a whole group of settings.

    Raises:
        KeyError: there is no such name; says the whole of it.
    """
    node: Any = values
    for name in key.split("."):
        if not isinstance(node, Mapping) or name not in node:
            raise KeyError(key)
        node = node[name]
    return node
