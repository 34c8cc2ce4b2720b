"""What constructors say of their arguments is held; values are told in errors at a length one can
read.
"""

from __future__ import annotations

import functools
import inspect
import numbers
import os
from typing import Any


def take_what_is_said(part: type) -> None:
    """Let the constructor look at what it is given for its `int`, `float` and `str` parameters."""
    constructor = part.__init__
    signature = inspect.signature(constructor)
    said = {
        name: parameter
        for name, parameter in signature.parameters.items()
        if _kind(parameter)[0] in CHECKS
    }
    if not said:
        return

    @functools.wraps(constructor)
    def checked(self: Any, *args: Any, **kwargs: Any) -> None:
        given = signature.bind(self, *args, **kwargs).arguments
        for name in said.keys() & given.keys():
            several = said[name].kind is inspect.Parameter.VAR_POSITIONAL
            for value in given[name] if several else (given[name],):
                _check(name, value, *_kind(said[name]))
        constructor(self, *args, **kwargs)

    part.__init__ = checked


def _kind(parameter: inspect.Parameter) -> tuple[str, bool]:
    """What the annotation says, such as "int", and whether None may stand for it."""
    said = parameter.annotation
    kind, *rest = (said.__name__ if isinstance(said, type) else str(said)).split(" | ")
    return ("", False) if rest not in ([], ["None"]) else (kind, bool(rest))


def _check(name: str, value: Any, kind: str, optional: bool) -> None:
    wanted, legal = CHECKS[kind]
    if not (value is None and optional) and not legal(value):
        raise ValueError(
            f"{name} must be {wanted}{' or None' if optional else ''}, got {shown(value)}"
        )
    if name == "seed" and kind == "int" and value is not None and value < 0:
        raise ValueError(f"seed must be 0 or more, got {value}")


def _is_whole(value: Any) -> bool:
    return (
        isinstance(value, numbers.Integral)
        and not isinstance(value, bool)
        and -(2**63) <= value < 2**63
    )


def _is_real(value: Any) -> bool:
    return (
        isinstance(value, numbers.Real)
        and not isinstance(value, numbers.Integral)
        or _is_whole(value)
    )


def _is_text(value: Any) -> bool:
    return isinstance(value, (str, os.PathLike))


CHECKS = {
    "int": ("a whole number of at most 64 bits", _is_whole),
    "float": ("a number (a whole one of at most 64 bits)", _is_real),
    "str": ("text", _is_text),
}


def shown(value: Any) -> str:
    """A value as an error tells it, cut where it is long."""
    return cut(repr(value))


def cut(text: str, most: int = 200) -> str:
    """A text, cut where it is long."""
    return text if len(text) <= most else f"{text[:most]}…"
