"""Filters as conditions of SQL: names are identifiers, values go as parameters."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

from .columns import NUMBER
from .filters import Column, Comparison, Joined, Literal, parse_filter

SIGNS: dict[type[ast.cmpop], str] = {
    ast.Eq: "=",
    ast.NotEq: "<>",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
}


def spell_filter(text: str, kinds: Mapping[str, str]) -> tuple[str, list[Any]]:
    """A filter as a condition of SQL, and its values.

    Args:
        text: the filter, "" for none.
        kinds: the columns of the index.

    Raises:
        UsageError: it cannot be read.
    """
    values: list[Any] = []
    condition = parse_filter(text, kinds).condition if text else None
    return ("TRUE" if condition is None else _spell(condition, values)), values


def _spell(condition: Comparison | Joined, values: list[Any]) -> str:
    if isinstance(condition, Joined):
        parts = [f"({_spell(part, values)})" for part in condition.parts]
        if condition.word == "not":
            return f"NOT {parts[0]}"
        return f" {condition.word.upper()} ".join(parts)
    left, sign, right = condition
    if sign in (ast.Is, ast.IsNot):
        return f"{_spell_side(left, values)} IS {'NOT ' * (sign is ast.IsNot)}NULL"
    one = _spell_side(left, values)
    if sign in (ast.In, ast.NotIn):
        told = f"{one} = ANY({_spell_side(right, values)})"
        told = told if sign is ast.In else f"NOT ({told})"
    else:
        told = f"{one} {SIGNS[sign]} {_spell_side(right, values)}"
    # What is compared with a missing value does not hold, and its opposite does.
    return f"COALESCE({told}, FALSE)"


def _spell_side(side: Column | Literal, values: list[Any]) -> str:
    if isinstance(side, Column):
        return f'"{side.name}"'
    values.append(side.value)
    kind = "double precision" if side.kind == NUMBER else "text"
    return f"%s::{kind}{'[]' if isinstance(side.value, list) else ''}"
