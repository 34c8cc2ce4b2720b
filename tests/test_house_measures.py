"""What `benchmarks/house.py` counts, on files whose figures can be counted by hand."""

from __future__ import annotations

import importlib.util
import pathlib
import sys
import textwrap

import pytest

BENCHMARKS = pathlib.Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def house():
    """The script as a module; what it imports from its own folder is put beside it for as long."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("measure", "house"):
            spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
            module = importlib.util.module_from_spec(spec)
            patch.setitem(sys.modules, name, module)
            spec.loader.exec_module(module)
        yield module


@pytest.fixture
def package(tmp_path):
    """Writes files of a package called `shop` and returns its folder."""

    def write(**files):
        home = tmp_path / "shop"
        for name, text in {"__init__": "", **files}.items():
            path = home / f"{name.replace('__in__', '/')}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text))
        return home

    return write


def read_one(house, home, name):
    return next(module for module in house.read_modules(home) if module.name == name)


def test_an_fstring_is_one_token_whatever_the_version_of_python(house):
    plain, _ = house.token_lines("x = 'a'\n")
    formatted, _ = house.token_lines("x = f'a {b + c} {d!r:>{width}}'\n")
    assert len(plain) == len(formatted) == 3


def test_comments_and_line_ends_are_no_tokens(house):
    tokens, comments = house.token_lines("# why\nx = 1  # how\n\ny = 2\n")
    assert tokens == [2, 2, 2, 4, 4, 4]
    assert comments == [1, 2]


def test_instructions_to_tools_are_no_comments(house):
    text = "import os  # noqa: F401\nx = f()  # type: ignore[misc]\ny = 1  # because\n"
    assert house.token_lines(text)[1] == [3]


def test_docstrings_and_comments_are_no_lines_of_code(house, package):
    home = package(cash='"""One\n\ntwo."""\n\n# three\nx = 1\n\n\ndef pay():\n    """Pay."""\n')
    module = read_one(house, home, "cash")
    assert module.lines == 6
    assert module.code_lines == 2


def test_a_function_is_measured_with_its_docstring_and_inner_functions(house, package):
    home = package(cash="def pay():\n    '''Pay.'''\n    def inner():\n        return 1\n")
    sizes = {each.node.name: each.tokens for each in house.functions(read_one(house, home, "cash"))}
    assert sizes == {"pay": 13, "inner": 7}


@pytest.mark.parametrize("name", ["told", "_opened", "__kept", "chosen", "agreed"])
def test_participles_alone_are_found(house, name):
    assert house.is_participle(name)


@pytest.mark.parametrize("name", ["read", "embed", "feed", "seed", "kept_modes", "tell", "pooling"])
def test_verbs_and_nouns_are_no_participles(house, name):
    assert not house.is_participle(name)


def test_arguments_are_counted_without_self_and_without_star(house, package):
    home = package(
        cash="""
        class Till:
            def __init__(self, a, b, *rest, c=1, **more): ...
            def _hide(self, a): ...

        def pay(self, a): ...
        """
    )
    found = {each.node.name: each for each in house.functions(read_one(house, home, "cash"))}
    assert found["__init__"].arguments == 3
    assert found["pay"].arguments == 2
    assert [name for name, each in found.items() if each.is_public] == ["__init__", "pay"]


def test_only_the_constructor_of_a_registered_class_is_called_by_recipes(house, package):
    home = package(
        cash="""
        @LOSSES.register()
        class Till:
            def __init__(self, a): ...
            def __call__(self, a): ...

        class Box:
            def __init__(self, a): ...
        """
    )
    found = house.functions(read_one(house, home, "cash"))
    assert [each.is_part for each in found] == [True, False, False]


def test_a_circle_is_found_and_what_only_hangs_on_it_is_not(house, package):
    home = package(
        a="from .b import x\n",
        b="from shop import c\n",
        c="from . import a\n",
        d="from .a import x\n",
    )
    graph = house.import_graph(house.read_modules(home), "shop")
    assert house.circles(graph) == [["a", "b", "c"]]


def test_imports_inside_functions_and_for_type_checkers_make_no_circle(house, package):
    home = package(
        a="from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .b import x\n",
        b="from .a import y\n",
        c="def late():\n    from .d import x\n",
        d="try:\n    from .c import late\nexcept ImportError:\n    pass\n",
    )
    graph = house.import_graph(house.read_modules(home), "shop")
    assert graph["d"] == {"c"}
    assert house.circles(graph) == []


def test_every_file_belongs_to_the_room_of_its_folder(house, package):
    home = package(cash="x = 1\n", shelf__in__top="y = 1\n", shelf__in____init__="")
    found = {row["room"]: row["files"] for row in house.rooms(house.read_modules(home))}
    assert found == {"(root)": 2, "shelf": 2}


def test_the_figures_are_put_between_the_marks_and_nothing_else_changes(house, tmp_path):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- house -->\nold\n<!-- /house -->\nafter\n")
    house.fill(page, "new")
    assert page.read_text() == "before\n<!-- house -->\nnew\n<!-- /house -->\nafter\n"
    page.write_text("no marks\n")
    with pytest.raises(SystemExit, match="needs"):
        house.fill(page, "new")
