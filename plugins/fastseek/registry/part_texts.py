"""What parts say of themselves. Their docstrings are read from the files, so that a list of all parts
imports none of them and needs no torch; the arguments of one part are those of the imported part.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import pathlib
import re
from collections.abc import Callable
from typing import Any

from .docstrings import Docstring, split_docstring
from .members import PACKAGE, Registry


@dataclasses.dataclass(frozen=True)
class Argument:
    """One argument that a call string may give a part.

    Args:
        name: as it is spelled, with its stars where it takes any number of values.
        type: its annotation, "" where it has none.
        default: what it is when it is not given; "" where it must be.
        meaning: what the docstring says of it.
    """

    name: str
    type: str
    default: str
    meaning: str

    def __str__(self) -> str:
        typed = f"{self.name}: {self.type}" if self.type else self.name
        equals = " = " if self.type else "="
        return f"{typed}{equals}{self.default}" if self.default else typed


def read_docstrings(members: Registry[Any]) -> dict[str, Docstring]:
    """Name -> docstring of every part of a kind, by name, those of imported plugins too.

    No part is imported.
    """
    folder = pathlib.Path(__file__).parents[1].joinpath(*_inner_name(members).split("."))
    texts = {path.stem: _read_docstring(path) for path in sorted(folder.glob("[!_]*.py"))}
    found = {name: split_docstring(text) for name, text in texts.items() if text is not None}
    for name, part in members.loaded():
        found.setdefault(name, split_docstring(part.__doc__ or ""))
    return dict(sorted(found.items()))


def read_arguments(members: Registry[Any], name: str) -> list[Argument]:
    """The arguments of a part that a recipe can give; imports the part.

    Raises:
        UsageError: there is no such part.
    """
    part: Callable[..., object] = members.get(name)
    doc = split_docstring(part.__doc__ or "")
    parameters = inspect.signature(part).parameters.values()
    return [_describe_argument(one, doc) for one in parameters if one.name not in members.runtime]


def _inner_name(members: Registry[Any]) -> str:
    return members.package.removeprefix(f"{PACKAGE}.")


def _read_docstring(path: pathlib.Path) -> str | None:
    """The docstring of the class or function that a module registers; None where it registers none."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if not isinstance(node, ast.ClassDef | ast.FunctionDef):
            continue
        if any(map(_is_registration, node.decorator_list)):
            return ast.get_docstring(node) or ""
    return None


def _is_registration(decorator: ast.expr) -> bool:
    """Whether it is the `register` of one of our registries; fast-reid's are called …_REGISTRY."""
    registry, _, method = ast.unparse(decorator).partition(".")
    return method.startswith("register") and not registry.endswith("_REGISTRY")


def _describe_argument(parameter: inspect.Parameter, doc: Docstring) -> Argument:
    stars: dict[int, str] = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}
    given = parameter.default is not parameter.empty
    said = parameter.annotation
    return Argument(
        f"{stars.get(parameter.kind, '')}{parameter.name}",
        "" if said is parameter.empty else inspect.formatannotation(said).strip("'"),
        _shorten_number(repr(parameter.default)) if given else "",
        doc.meaning(parameter.name),
    )


def _shorten_number(text: str) -> str:
    """4 / 3 has sixteen digits that nobody wrote."""

    return re.sub(r"(\d\.\d{3})\d{8,}", r"\1", text)
