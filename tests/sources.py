"""The syntax trees of source files, each parsed once a process: tests of the house read them again and again."""

import ast
import functools
import pathlib


@functools.cache
def parse(path: pathlib.Path) -> ast.Module:
    """The tree of a file; nobody changes it."""
    return ast.parse(path.read_text(encoding="utf-8"))


@functools.cache
def nodes(path: pathlib.Path) -> tuple[ast.AST, ...]:
    """All nodes of a file."""
    return tuple(ast.walk(parse(path)))
