"""Filters as expressions of Milvus."""

from __future__ import annotations

import ast
import json

from ..errors import UsageError
from ..search._milvus_ids import encode_id
from .filters import Column, Comparison, Filter, Joined, Literal

WORDS = frozenset(  # of the filters of Milvus, in small letters
    """and or not in is like null exists true false iso interval json_contains json_contains_all
    json_contains_any array_contains array_contains_all array_contains_any array_length text_match
    phrase_match random_sample""".split()
)
SPELLED: dict[type[ast.cmpop], str] = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.In: "in",
    ast.NotIn: "not in",
}
OPPOSITE: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.GtE,
    ast.GtE: ast.Lt,
    ast.Gt: ast.LtE,
    ast.LtE: ast.Gt,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}


def spell_filter(wanted: Filter, partition: str = "") -> str:
    """A filter as an expression of Milvus.

    Args:
        wanted: the filter.
        partition: the column that is the partition key, which is "" where it is missing.

    Raises:
        UsageError: Milvus has no such condition.
    """
    return _spell(wanted.condition, False, partition)


def _spell(condition: Comparison | Joined, negated: bool, partition: str) -> str:
    # "not" is moved inwards: in Milvus the opposite of a missing value does not hold either.
    if isinstance(condition, Joined):
        if condition.word == "not":
            return _spell(condition.parts[0], not negated, partition)
        word = {"and": "or", "or": "and"}[condition.word] if negated else condition.word
        parts = (_spell(part, negated, partition) for part in condition.parts)
        return f" {word} ".join(f"({part})" for part in parts)
    left, sign, right = condition
    names = [side.name for side in (left, right) if isinstance(side, Column) and side.name != "id"]
    if sign in (ast.Is, ast.IsNot):
        wanted = (sign is ast.Is) != negated
        if not names:
            return 'id == ""' if wanted else 'id != ""'
        return _is_missing(names[0], partition) if wanted else _is_there(names[0], partition)
    order = sign in (ast.Lt, ast.LtE, ast.Gt, ast.GtE)
    sides = [side for side in (left, right) if isinstance(side, Column) and side.name == "id"]
    if sides and (order or len(sides) + len(names) > 1):
        raise UsageError("ids in Milvus can be compared by ==, != and in with texts only")
    if sides:
        left, right = (_encode_ids(side) for side in (left, right))
    there = " and ".join(f"({_is_there(name, partition)})" for name in names)
    told = (
        f"{_spell_side(left)} {SPELLED[OPPOSITE[sign] if negated else sign]} {_spell_side(right)}"
    )
    if not negated:
        return f"{there} and ({told})" if there else told
    missing = " or ".join(f"({_is_missing(name, partition)})" for name in names)
    return f"{missing} or ({there} and ({told}))" if there else told


def _is_there(name: str, partition: str) -> str:
    return f'{name} != ""' if name == partition else f"exists {name}"


def _is_missing(name: str, partition: str) -> str:
    return f'{name} == ""' if name == partition else f"not exists {name}"


def _encode_ids(side: Column | Literal) -> Column | Literal:
    """A text as an id is stored."""
    if isinstance(side, Column):
        return side
    if isinstance(side.value, list):
        return Literal([encode_id(one) for one in side.value], side.kind)
    return Literal(encode_id(side.value), side.kind)


def _spell_side(side: Column | Literal) -> str:
    if isinstance(side, Column):
        return side.name
    values = side.value if isinstance(side.value, list) else [side.value]
    spelled = [json.dumps(value, ensure_ascii=False) for value in values]
    return f"[{', '.join(spelled)}]" if isinstance(side.value, list) else spelled[0]
