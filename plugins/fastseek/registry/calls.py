"""Call strings: a part's name and its arguments, parsed as literals."""

from __future__ import annotations

import ast
import inspect
import numbers
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from ..errors import UsageError, shorten_value
from ..suggestions import did_you_mean

Value = TypeVar("Value")


def recipe_name(class_name: str) -> str:
    """`KReciprocal` -> `k_reciprocal`, the name used in recipes and for the file."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", class_name).lower()


def suggest_names(name: str, known: list[str]) -> str:
    """What an error about an unknown name ends with: the nearest name, and all there are."""
    hint = did_you_mean(name, known, quoted=True)
    return f"{hint or '.'} Known: {', '.join(known) or 'none'}"


def parse(call: str) -> tuple[str, list[Any], dict[str, Any]]:
    """Split a call string into name, positional and keyword arguments.

    Only literals are accepted as arguments, so that no code ever runs from a recipe.

    Args:
        call: such as "map(100)", "k_reciprocal(k1=20, k2=6)" or a bare "gap".

    Raises:
        UsageError: the text is not one call of a name with literal arguments.
    """
    refused = f'{shorten_value(call)} is not a call string such as "map(100)"'
    if not isinstance(call, str):
        raise UsageError(refused)
    try:
        node = ast.parse(call.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise UsageError(f"{refused}: {error or 'it is nested too deeply'}") from error
    if isinstance(node, ast.Name):
        return node.id, [], {}
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
        raise UsageError(refused)
    names = [_read_keyword(keyword, call) for keyword in node.keywords]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise UsageError(f"{shorten_value(call)}: {twice[0]} is given twice")
    try:
        args = [ast.literal_eval(value) for value in node.args]
        kwargs = {
            name: ast.literal_eval(keyword.value)
            for name, keyword in zip(names, node.keywords, strict=True)
        }
    except (ValueError, TypeError, RecursionError, MemoryError) as error:
        raise UsageError(
            f"{shorten_value(call)}: arguments must be plain literals (numbers, strings, tuples …)"
        ) from error
    return node.func.id, args, kwargs


def whole_argument(call: str) -> int:
    """The one whole number, 0 or more, in a call such as "blocks(15)".

    Raises:
        UsageError: it has other arguments.
    """
    name, args, kwargs = parse(call)
    if len(args) != 1 or kwargs or type(args[0]) is not int or args[0] < 0:
        raise UsageError(f'{shorten_value(call)}: expected one whole number, such as "{name}(15)"')
    return args[0]


def unparse(name: str, args: Iterable[Any], kwargs: Mapping[str, Any]) -> str:
    """The call string that `parse` splits into these."""
    given = [*map(repr, args), *(f"{key}={value!r}" for key, value in kwargs.items())]
    return f"{name}({', '.join(given)})"


def _read_keyword(keyword: ast.keyword, call: str) -> str:
    if keyword.arg is None:
        raise UsageError(f"{shorten_value(call)}: ** is not allowed in a recipe")
    return keyword.arg


def spell_call(
    name: str,
    signature: inspect.Signature,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    left_out: Sequence[str] = (),
    unnamed: Sequence[str] = (),
) -> str:
    """The call string of a member with all its arguments, those it was not given too.

    Args:
        name: the member's recipe name.
        signature: what it can be given.
        args, kwargs: what it was given.
        left_out: parameters that are not told.
        unnamed: parameters that are told without their names; none stands behind a named one.
    """
    bound = signature.bind_partial(*args, **kwargs)
    bound.apply_defaults()
    positional: list[Any] = []
    named: dict[str, Any] = {}
    for parameter, value in bound.arguments.items():
        if parameter in left_out:
            continue
        kind = signature.parameters[parameter].kind
        if kind is inspect.Parameter.VAR_POSITIONAL and value:
            positional += [*named.values(), *value]  # what stands before it has to be positional
            named = {}
        elif kind is inspect.Parameter.VAR_KEYWORD:
            named |= value
        elif kind is inspect.Parameter.POSITIONAL_ONLY or parameter in unnamed:
            positional.append(value)
        elif kind is not inspect.Parameter.VAR_POSITIONAL:
            named[parameter] = value
    literals = {key: _to_literal(value) for key, value in named.items()}
    return unparse(name, map(_to_literal, positional), literals)


def _to_literal(value: Any) -> Any:
    """Paths as text and numbers of numpy as Python's, so that `parse` reads the call string."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, numbers.Number) and hasattr(value, "item"):
        return value.item()
    if type(value) in (list, tuple):
        return type(value)(map(_to_literal, value))
    return value


def takes(signature: inspect.Signature, key: str) -> bool:
    """Whether a keyword argument may be given."""
    kinds = {parameter.kind for parameter in signature.parameters.values()}
    return key in signature.parameters or inspect.Parameter.VAR_KEYWORD in kinds


def pick(known: Mapping[str, Value], name: str, what: str) -> Value:
    """The value of that name.

    Args:
        known: name -> value.
        name: what is wanted.
        what: what a name stands for, for the error.

    Raises:
        ValueError: no such name; lists the known ones.
    """
    if name not in known:
        raise ValueError(f"there is no {what} {name!r}, only {', '.join(sorted(known)) or 'none'}")
    return known[name]
