"""Filters over metadata: `price < 20 and shop == 'north'`, read and checked, never run as code."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from ..errors import UsageError
from ..structures.arrays import BoolArray
from ..suggestions import did_you_mean
from ._ast_lock import AST_LOCK
from .columns import NUMBER, TEXT, is_number

GRAMMAR = (
    "a filter compares columns with numbers and quoted texts (==, !=, <, <=, >, >=, in, is None) and"
    " joins that by and, or, not"
)
COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
LONGEST, DEEPEST = 10_000, 50
GetColumn = Callable[[str], np.ndarray]


class Column(NamedTuple):
    """A column by its name and kind."""

    name: str
    kind: str


class Literal(NamedTuple):
    """A number, a text, or several of one kind."""

    value: Any
    kind: str


class Comparison(NamedTuple):
    """Two sides and what is between them: a class of `ast`."""

    left: Column | Literal
    sign: type[ast.cmpop]
    right: Column | Literal


class Joined(NamedTuple):
    """Conditions joined by "and" or "or", or one under "not"."""

    word: str
    parts: tuple[Any, ...]


class Filter(NamedTuple):
    """A condition that was checked against the columns of an index."""

    text: str
    condition: Comparison | Joined


def parse_filter(text: str, kinds: Mapping[str, str]) -> Filter:
    """Read a filter.

    A comparison with a value that is missing does not hold, whatever the sign; `is None` asks for
    one. Besides the columns there is `id`.

    Args:
        text: such as "price < 20 and shop in ('north', 'south')".
        kinds: the columns of the index, each "number" or "text".

    Raises:
        UsageError: it cannot be read, names an unknown column, or compares a number with a text.
    """
    try:
        if len(text) > LONGEST:
            raise ValueError(f"it is longer than {LONGEST} letters")
        with AST_LOCK:
            tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        reason = getattr(error, "msg", None) or error
        raise UsageError(f"filter {text[:200]!r} cannot be read ({reason}): {GRAMMAR}") from error
    return Filter(text, _Reader(text, {**kinds, "id": TEXT}).read(tree.body))


class _Reader:
    """From Python's syntax tree to a condition."""

    def __init__(self, text: str, kinds: Mapping[str, str]) -> None:
        self.text, self.kinds = text, kinds

    def read(self, node: ast.expr, depth: int = 0) -> Comparison | Joined:
        if depth > DEEPEST:
            raise self._refuse(node, "is nested too deep")
        if isinstance(node, ast.BoolOp):
            word = "and" if isinstance(node.op, ast.And) else "or"
            return Joined(word, tuple(self.read(part, depth + 1) for part in node.values))
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return Joined("not", (self.read(node.operand, depth + 1),))
        if isinstance(node, ast.Compare):
            return self._compare(node)
        raise self._refuse(node, "is no comparison")

    def _compare(self, node: ast.Compare) -> Comparison | Joined:
        sides = [node.left, *node.comparators]
        made = [
            self._pair(left, type(sign), right)
            for left, sign, right in zip(sides[:-1], node.ops, sides[1:], strict=True)
        ]
        return made[0] if len(made) == 1 else Joined("and", tuple(made))

    def _pair(self, left: ast.expr, sign: type[ast.cmpop], right: ast.expr) -> Comparison:
        many = sign in (ast.In, ast.NotIn)
        none = sign in (ast.Is, ast.IsNot)
        one = self._side(left)
        if none:
            if not (isinstance(right, ast.Constant) and right.value is None):
                raise self._refuse(right, "stands behind `is`, where only None can stand")
            other: Column | Literal = Literal(None, one.kind)
        else:
            other = self._list(right) if many else self._side(right)
        if isinstance(one, Literal) and (many or none or isinstance(other, Literal)):
            raise self._refuse(left, "is no column")
        if one.kind != other.kind:
            name, kind = (one.name, one.kind) if isinstance(one, Column) else (other[0], other.kind)
            raise UsageError(
                f"filter {self.text!r}: {name} is a {kind}, and is compared with something else:"
                f" {'quote the text' if kind == TEXT else 'leave the quotes out'}"
            )
        return Comparison(one, sign, other)

    def _side(self, node: ast.expr) -> Column | Literal:
        if isinstance(node, ast.Name):
            if node.id not in self.kinds:
                known = ", ".join(self.kinds)
                hint = did_you_mean(node.id, self.kinds) or f"; there are {known}"
                raise UsageError(f"filter {self.text!r}: no column is called {node.id!r}{hint}")
            return Column(node.id, self.kinds[node.id])
        return self._literal(node)

    def _literal(self, node: ast.expr) -> Literal:
        try:
            value = ast.literal_eval(node)
        except (ValueError, TypeError, SyntaxError, RecursionError) as error:
            raise self._refuse(node, "is neither a column nor a number nor a text") from error
        if isinstance(value, str):
            return Literal(value, TEXT)
        if not isinstance(value, bool) and is_number(value):
            return Literal(float(value), NUMBER)
        raise self._refuse(node, "is neither a column nor a number nor a text")

    def _list(self, node: ast.expr) -> Literal:
        if not isinstance(node, (ast.List, ast.Tuple, ast.Set)) or not node.elts:
            raise self._refuse(node, "is no list such as ('a', 'b')")
        values = [self._literal(one) for one in node.elts]
        kinds = {one.kind for one in values}
        if len(kinds) > 1:
            raise self._refuse(node, "holds numbers and texts")
        return Literal([one.value for one in values], kinds.pop())

    def _refuse(self, node: ast.expr, why: str) -> UsageError:
        part = ast.get_source_segment(self.text.strip(), node) or self.text
        return UsageError(f"filter {self.text!r}: {part!r} {why}: {GRAMMAR}")


def select_rows(condition: Comparison | Joined, column: GetColumn) -> BoolArray:
    """Which rows [N] fulfill a condition.

    Args:
        condition: of a `Filter`.
        column: the stored column of a name, see `columns`; "id" the ids as UTF-8.
    """
    if isinstance(condition, Joined):
        parts = [select_rows(part, column) for part in condition.parts]
        if condition.word == "not":
            return ~parts[0]
        join = np.logical_and if condition.word == "and" else np.logical_or
        return np.asarray(join.reduce(parts), bool)
    one, other = (_values(side, column) for side in (condition.left, condition.right))
    there = _is_there(condition.left, one)
    if condition.sign is ast.Is:
        return ~there
    if condition.sign is ast.IsNot:
        return there
    if condition.sign is ast.In:
        return np.isin(one, other) & there
    if condition.sign is ast.NotIn:
        return ~np.isin(one, other) & there
    made = COMPARE[condition.sign](one, other)
    return np.asarray(made & there & _is_there(condition.right, other), bool)


def _values(side: Column | Literal, column: GetColumn) -> Any:
    if isinstance(side, Column):
        return column(side.name)
    if side.value is None or side.kind == NUMBER:
        return side.value
    texts = side.value if isinstance(side.value, list) else [side.value]
    made = np.array([one.encode("utf-8", "surrogatepass") for one in texts], np.bytes_)
    return made if isinstance(side.value, list) else made[0]


def _is_there(side: Column | Literal, values: Any) -> Any:
    if isinstance(side, Literal):
        return True
    return ~np.isnan(values) if side.kind == NUMBER else values != b""
