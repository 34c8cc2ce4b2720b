"""What the constructors of parts take, and what is put around them."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import inspect
import numbers
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..errors import shorten_value
from .calls import recipe_name, spell_call


def check_constructor_arguments(part: type) -> None:
    """Let the constructor look at what it is given for its `int`, `float`, `str` and `bool`
    parameters.

    A class may say in `argument_hints` what a wrong value of a parameter probably meant.
    """
    constructor: Callable[..., None] = inspect.getattr_static(part, "__init__")
    signature = inspect.signature(constructor)
    said = {
        name: parameter
        for name, parameter in signature.parameters.items()
        if _read_annotation(parameter)[0] in _CHECKS
    }
    if not said:
        return
    hints: Mapping[str, str] = getattr(part, "argument_hints", {})

    @functools.wraps(constructor)
    def check_then_build(self: Any, *args: Any, **kwargs: Any) -> None:
        given = signature.bind(self, *args, **kwargs).arguments
        for name in said.keys() & given.keys():
            several = said[name].kind is inspect.Parameter.VAR_POSITIONAL
            for value in given[name] if several else (given[name],):
                _check(name, value, *_read_annotation(said[name]), hints.get(name, ""))
        constructor(self, *args, **kwargs)

    type.__setattr__(part, "__init__", check_then_build)


def stamp_when_built(part: type) -> None:
    """Let the constructor end with writing the call string of what it built.

    Where the base of a class is registered too, the class's own call is written last and stays;
    one that only presets arguments of its base, `keeps_base_call = True`, has the base's.
    """
    constructor: Callable[..., None] = inspect.getattr_static(part, "__init__")
    if constructor is object.__init__:
        constructor = _take_nothing
    signature, name = inspect.signature(part), recipe_name(part.__name__)
    left_out: Sequence[str] = getattr(part, "not_in_call", ())
    unnamed: Sequence[str] = getattr(part, "unnamed_in_call", ())
    keeps_base_call: bool = getattr(part, "keeps_base_call", False)

    @functools.wraps(constructor)
    def build_then_stamp(self: Any, *args: Any, **kwargs: Any) -> None:
        constructor(self, *args, **kwargs)
        if not keeps_base_call:
            call = spell_call(name, signature, args, kwargs, left_out, unnamed)
            object.__setattr__(self, "call", call)  # a frozen part is stamped too

    type.__setattr__(part, "__init__", build_then_stamp)


def _take_nothing(self: Any) -> None:
    """The constructor of a class that has none."""


def run_in_frame(part: type, frame: str) -> None:
    """Let the module `frame` stand between the caller and the part."""
    compute: Callable[..., Any] = inspect.getattr_static(part, "__call__")
    if getattr(compute, "runs_in_frame", False):
        return  # it is the base's, which is registered too

    @functools.wraps(compute)
    def run(self: Any, *args: Any, **kwargs: Any) -> Any:
        return importlib.import_module(frame).run(self, compute, *args, **kwargs)

    run.runs_in_frame = True  # type: ignore[attr-defined]
    type.__setattr__(part, "__call__", run)


def _read_annotation(parameter: inspect.Parameter) -> tuple[str, bool]:
    """What the annotation says, such as "int", and whether None may stand for it."""
    said = parameter.annotation
    kind, *rest = (said.__name__ if isinstance(said, type) else str(said)).split(" | ")
    return ("", False) if rest not in ([], ["None"]) else (kind, bool(rest))


def _check(name: str, value: Any, kind: str, optional: bool, hint: str) -> None:
    wanted, legal = _CHECKS[kind]
    if not (value is None and optional) and not legal(value):
        raise ValueError(
            f"{name} must be {wanted}{' or None' if optional else ''}, got {shorten_value(value)}"
            f"{'; ' if hint else ''}{hint}"
        )
    if kind == "str" and value is not None and "\0" in os.fspath(value):
        # no name of a file can hold one, and the system's refusal tells nothing
        raise ValueError(f"{name} holds a zero byte: {shorten_value(value)}")
    if name == "seed" and kind == "int" and value is not None and value < 0:
        raise ValueError(f"seed must be 0 or more, got {value}")


def _is_whole(value: Any) -> bool:
    return (
        isinstance(value, numbers.Integral)
        and not isinstance(value, bool)
        and -(2**63) <= int(value) < 2**63
    )


def _is_real(value: Any) -> bool:
    return (
        isinstance(value, numbers.Real)
        and not isinstance(value, numbers.Integral)
        or _is_whole(value)
    )


def _is_text(value: Any) -> bool:
    return isinstance(value, (str, os.PathLike))


def _is_yes_or_no(value: Any) -> bool:
    # NumPy's own is called bool_ before version 2 and bool since.
    return type(value).__name__ in ("bool", "bool_")


_CHECKS = {
    "bool": ("True or False", _is_yes_or_no),
    "int": ("a whole number of at most 64 bits", _is_whole),
    "float": ("a number (a whole one of at most 64 bits)", _is_real),
    "str": ("text", _is_text),
}
