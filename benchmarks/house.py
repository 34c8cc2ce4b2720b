"""Measures how the package is written, beside the bars it is held to.

    python benchmarks/house.py
    python benchmarks/house.py --out benchmarks/results/house.json --write docs/architecture.md
    python benchmarks/house.py --list                  every place behind a missed bar
    python benchmarks/house.py --root OTHER_CHECKOUT   another state of the project

Tokens are names, operators, numbers and strings: an f-string is one of them, and comments, line ends and indentation are
none. Lines are those that are not blank; for comments, those that hold code. A function reaches from `def` to its last
line, with its docstring and the functions inside it.
"""

from __future__ import annotations

import argparse
import ast
import bisect
import dataclasses
import importlib.util
import io
import pathlib
import re
import statistics
import subprocess
import sys
import tokenize
import tomllib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from measure import write

HERE = pathlib.Path(__file__).resolve().parents[1]
CODE = (tokenize.NAME, tokenize.OP, tokenize.NUMBER, tokenize.STRING)
# Python 3.12 and later cut f-strings into pieces; before, each was one string.
FSTRING_START = getattr(tokenize, "FSTRING_START", None)
FSTRING_END = getattr(tokenize, "FSTRING_END", None)
PRAGMA = re.compile(r"#\s*(noqa|type:\s*ignore|pragma:|fmt:|ruff:|mypy:)")
MOST_ARGUMENTS = 7
BEGIN, END = "<!-- house -->", "<!-- /house -->"

# Past participles that do not end in "ed", less those that are also the verb itself, such as "read" and "split".
IRREGULAR = frozenset(
    """begun bent bitten bled blown born bound bought bred broken brought built burnt caught chosen clung dealt done
    drawn driven drunk dug eaten fallen fed felt fled flown forbidden forgiven forgotten fought found frozen given gone
    gotten ground grown heard held hidden hung kept knelt known laid lain leapt learnt led left lent lit lost made meant
    met overridden paid proven ridden risen rung said seen sent shaken shone shorn shot shown shrunk slept slid sold
    sought spent spoken spun stolen stood struck stuck sung sunk swept swollen sworn swum taken taught thought thrown
    told torn understood unbound won worn wound woven written agreed freed""".split()
)
ENDS_IN_ED_BUT_A_VERB = frozenset({"bed", "embed", "shed", "shred", "sled", "wed"})


@dataclasses.dataclass(frozen=True)
class Module:
    """One source file.

    Attributes:
        name: dotted, below the package; "" is the package itself.
        path: the file.
        text: its content.
        tree: the content, parsed.
        tokens: line numbers of its tokens, ascending.
        comments: line numbers of its comments that are no instructions to tools.
    """

    name: str
    path: pathlib.Path
    text: str
    tree: ast.Module
    tokens: list[int]
    comments: list[int]

    @property
    def lines(self) -> int:
        """How many lines are not blank."""
        return sum(bool(line.strip()) for line in self.text.splitlines())

    @property
    def code_lines(self) -> int:
        """How many lines hold code: no docstring, no comment alone."""
        texts: set[int] = set()
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                texts.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
        return len(set(self.tokens) - texts)

    @property
    def room(self) -> str:
        """The first-level folder; files beside the folders form a room together."""
        inside_a_folder = "." in self.name or self.path.name == "__init__.py"
        return self.name.split(".")[0] if self.name and inside_a_folder else "(root)"


@dataclasses.dataclass(frozen=True)
class Function:
    """A function or method, wherever it is written.

    Attributes:
        node: its definition.
        module: the file it is in.
        owner: the class it is a method of.
    """

    node: ast.FunctionDef | ast.AsyncFunctionDef
    module: Module
    owner: ast.ClassDef | None

    @property
    def place(self) -> str:
        """Where it is, for a person."""
        inside = f"{self.owner.name}." if self.owner else ""
        return f"{self.module.path.name}:{self.node.lineno} {inside}{self.node.name}"

    @property
    def tokens(self) -> int:
        """How many tokens it has."""
        first, last = self.node.lineno, self.node.end_lineno or self.node.lineno
        known = self.module.tokens
        return bisect.bisect_right(known, last) - bisect.bisect_left(known, first)

    @property
    def is_property(self) -> bool:
        """Whether it is read like a value, so that its name may be an adjective."""
        return any("property" in ast.unparse(each) for each in self.node.decorator_list)

    @property
    def is_part(self) -> bool:
        """Whether recipes call it: the constructor of a registered class."""
        made = self.owner is not None and self.node.name == "__init__"
        return made and any(".register" in ast.unparse(each) for each in self.owner.decorator_list)

    @property
    def is_public(self) -> bool:
        """Whether someone outside the file may call it."""
        owner = self.owner.name if self.owner else ""
        return not owner.startswith("_") and (
            not self.node.name.startswith("_") or self.node.name in ("__init__", "__call__")
        )

    @property
    def arguments(self) -> int:
        """How many arguments a caller may give, `*args` and `**kwargs` apart."""
        given = self.node.args
        names = [each.arg for each in (*given.posonlyargs, *given.args)]
        own = self.owner is not None and names[:1] in (["self"], ["cls"])
        return len(names) + len(given.kwonlyargs) - own


@dataclasses.dataclass(frozen=True)
class Bar:
    """One measure and what it is held to.

    Attributes:
        name: what is measured.
        value: the figure; None where it could not be measured.
        sign: "at most", "at least" or "below".
        limit: the aim.
        places: what keeps it from the aim.
    """

    name: str
    value: float | None
    sign: str
    limit: float
    places: tuple[str, ...] = ()

    @property
    def is_reached(self) -> bool | None:
        """Whether the aim is reached; None where nothing was measured."""
        if self.value is None:
            return None
        if self.sign == "below":
            return self.value < self.limit
        return self.value <= self.limit if self.sign == "at most" else self.value >= self.limit

    @property
    def aim(self) -> str:
        """The aim in words."""
        return f"{self.limit:,g}" if self.limit == 0 else f"{self.sign} {self.limit:,g}"

    @property
    def verdict(self) -> str:
        """One word."""
        return {True: "reached", False: "missed", None: "not measured"}[self.is_reached]

    def row(self) -> dict[str, Any]:
        """The form that is kept as JSON."""
        found = {"name": self.name, "value": self.value, "aim": self.aim, "verdict": self.verdict}
        return found | ({"places": list(self.places)} if self.places else {})


def read_modules(package: pathlib.Path) -> list[Module]:
    """Every Python file below the package, by name."""
    found = []
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        text = path.read_text(encoding="utf-8")
        tokens, comments = token_lines(text)
        found.append(Module(name, path, text, ast.parse(text), tokens, comments))
    return found


def token_lines(text: str) -> tuple[list[int], list[int]]:
    """The line of every token, and of every comment that speaks to a reader."""
    tokens, comments, depth = [], [], 0
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == FSTRING_START:
            tokens += [token.start[0]] if depth == 0 else []
            depth += 1
        elif token.type == FSTRING_END:
            depth -= 1
        elif token.type in CODE and depth == 0:
            tokens.append(token.start[0])
        elif token.type == tokenize.COMMENT and not PRAGMA.match(token.string):
            comments.append(token.start[0])
    return tokens, comments


def functions(module: Module) -> Iterator[Function]:
    """All functions of a file, those inside others too."""

    def visit(node: ast.AST, owner: ast.ClassDef | None) -> Iterator[Function]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                yield Function(child, module, owner)
                yield from visit(child, None)
            elif isinstance(child, ast.ClassDef):
                yield from visit(child, child)
            else:
                yield from visit(child, owner)

    return visit(module.tree, None)


def is_participle(name: str) -> bool:
    """Whether a function's name is a past participle alone, such as `told` or `_opened`."""
    word = name.strip("_")
    if not word.isalpha():
        return False
    ends = word.endswith("ed") and not word.endswith("eed") and word not in ENDS_IN_ED_BUT_A_VERB
    return ends or word in IRREGULAR


def imported_names(module: Module, package: str, whole: bool) -> Iterator[tuple[str, int]]:
    """What a file imports of the package: dotted name below it, and the line.

    Args:
        module: the file.
        package: the package's name.
        whole: also look inside functions; else only at what runs when the file is imported.
    """
    home = [package, *module.name.split(".")] if module.name else [package]
    if module.path.name != "__init__.py":
        home = home[:-1]
    for node in ast.walk(module.tree) if whole else import_time_nodes(module.tree.body):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from below(package, alias.name, node.lineno)
        elif isinstance(node, ast.ImportFrom):
            start = ".".join(home[: len(home) - node.level + 1]) if node.level else ""
            base = ".".join(part for part in (start, node.module) if part)
            for alias in node.names:
                yield from below(package, f"{base}.{alias.name}", node.lineno)


def below(package: str, name: str, line: int) -> Iterator[tuple[str, int]]:
    """The name without the package's, if it is of the package."""
    if name == package or name.startswith(f"{package}."):
        yield name.removeprefix(package).lstrip("."), line


def import_time_nodes(body: Iterable[ast.stmt]) -> Iterator[ast.AST]:
    """The statements that run on import: none of a function, and none that only a type checker sees."""
    for node in body:
        yield node
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from import_time_nodes(node.orelse)
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for part in ("body", "orelse", "finalbody"):
                yield from import_time_nodes(getattr(node, part, []))
            for handler in getattr(node, "handlers", []):
                yield from import_time_nodes(handler.body)


def import_graph(modules: list[Module], package: str) -> dict[str, set[str]]:
    """Module -> the modules it imports when it is imported."""
    known = {module.name for module in modules}
    graph: dict[str, set[str]] = {}
    for module in modules:
        found = {nearest(name, known) for name, _ in imported_names(module, package, whole=False)}
        graph[module.name] = found - {module.name}
    return graph


def nearest(name: str, known: set[str]) -> str:
    """The module that a name imported from it belongs to."""
    while name and name not in known:
        name = name.rpartition(".")[0]
    return name


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Groups of modules that reach each other, by two walks over the graph (Kosaraju)."""
    order: list[str] = []
    seen: set[str] = set()
    for start in graph:
        order += walk(graph, start, seen)
    back: dict[str, set[str]] = {name: set() for name in graph}
    for name, targets in graph.items():
        for target in targets:
            back[target].add(name)
    seen, groups = set(), []
    for start in reversed(order):
        if group := walk(back, start, seen):
            groups.append(sorted(group))
    return sorted(group for group in groups if len(group) > 1)


def walk(graph: dict[str, set[str]], start: str, seen: set[str]) -> list[str]:
    """What is reached from `start` and was not seen, last the start itself; marks it as seen."""
    if start in seen:
        return []
    seen.add(start)
    done, open_ = [], [(start, iter(sorted(graph[start])))]
    while open_:
        name, targets = open_[-1]
        target = next((each for each in targets if each not in seen), None)
        if target is None:
            done.append(open_.pop()[0])
        else:
            seen.add(target)
            open_.append((target, iter(sorted(graph[target]))))
    return done


def upward_imports(modules: list[Module], package: str, root: pathlib.Path) -> list[str]:
    """Imports of a higher level, by the table in tests/test_layers.py."""
    level = level_table(root)
    found = []
    for module in modules:
        own = level(module.name)
        for name, line in imported_names(module, package, whole=True):
            theirs = level(nearest(name, {each.name for each in modules}))
            if own is not None and theirs is not None and theirs > own:
                found.append(f"{module.name}:{line} (level {own}) imports {name} (level {theirs})")
    return found


def level_table(root: pathlib.Path) -> Callable[[str], int | None]:
    """The function that gives a module's level, read from the test that holds the table."""
    tests = root / "tests"
    sys.modules["sources"] = _load_file("sources", tests / "sources.py")  # the test reads by it
    layers = _load_file("layers_table", tests / "test_layers.py")
    return lambda name: layers.LEVEL.get(layers.group(name))


def _load_file(name: str, path: pathlib.Path) -> Any:
    """A file of Python as a module."""
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{path}: cannot be imported")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def mypy_errors(root: pathlib.Path, package: pathlib.Path) -> tuple[int | None, list[str]]:
    """How many errors mypy finds, with their lines; None where mypy is not installed."""
    if importlib.util.find_spec("mypy") is None:
        return None, []
    settings = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    own = settings.get("tool", {}).get("mypy", {})
    what = [] if {"files", "packages"} & set(own) else [str(package)]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--no-error-summary", *what],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode not in (0, 1):
        raise SystemExit(f"mypy failed: {done.stderr.strip() or done.stdout.strip()}")
    lines = [line for line in done.stdout.splitlines() if ": error:" in line]
    return len(lines), lines


def percentile(values: list[int], share: float) -> int:
    """The value that `share` of all do not exceed."""
    ordered = sorted(values)
    return ordered[round(share * (len(ordered) - 1))]


def rooms(modules: list[Module]) -> list[dict[str, Any]]:
    """Files and lines of every room, blank lines included, largest first."""
    found: dict[str, dict[str, Any]] = {}
    for module in modules:
        row = found.setdefault(module.room, {"room": module.room, "files": 0, "lines": 0})
        row["files"] += 1
        row["lines"] += len(module.text.splitlines())
    return sorted(found.values(), key=lambda row: -row["lines"])


def import_bars(modules: list[Module], package: str, root: pathlib.Path) -> list[Bar]:
    """Circles, and imports of a higher level."""
    groups = [" <-> ".join(group) for group in circles(import_graph(modules, package))]
    upward = upward_imports(modules, package, root)
    return [
        Bar("import circles", len(groups), "at most", 0, tuple(groups)),
        Bar("imports of a higher level", len(upward), "at most", 0, tuple(upward)),
    ]


def size_bars(modules: list[Module], known: list[Function]) -> list[Bar]:
    """Tokens a function, tokens a line."""
    sizes = [function.tokens for function in known]
    longest = sorted(known, key=lambda function: -function.tokens)[:10]
    places = tuple(f"{function.place}: {function.tokens} tokens" for function in longest)
    packed = sum(len(module.tokens) for module in modules) / sum(module.lines for module in modules)
    return [
        Bar("tokens a function, median", statistics.median(sizes), "at most", 65),
        Bar("tokens a function, 90 of 100", percentile(sizes, 0.90), "at most", 170),
        Bar("tokens a function, 99 of 100", percentile(sizes, 0.99), "at most", 350, places),
        Bar("tokens a line", round(packed, 2), "at most", 7),
    ]


def interface_bars(known: list[Function]) -> list[Bar]:
    """Arguments, and names."""
    public = [function for function in known if function.is_public]
    wide = [function for function in public if function.arguments > MOST_ARGUMENTS]
    wide.sort(key=lambda function: -function.arguments)
    places = tuple(f"{function.place}: {function.arguments} arguments" for function in wide)
    named = tuple(
        function.place
        for function in known
        if is_participle(function.node.name) and not function.is_property
    )
    most = max(function.arguments for function in public)
    apart = max(function.arguments for function in public if not function.is_part)
    return [
        Bar("most arguments of a public callable", most, "at most", MOST_ARGUMENTS, places),
        # Recipes give a part its arguments by name, and their names must not change.
        Bar("the same, parts of recipes apart", apart, "at most", MOST_ARGUMENTS),
        Bar("functions named by a bare participle", len(named), "at most", 0, named),
    ]


def care_bars(modules: list[Module], root: pathlib.Path, package: pathlib.Path) -> list[Bar]:
    """Types, silenced checks, comments, and the largest room."""
    errors, lines = mypy_errors(root, package)
    silenced = {module.name: module.text.count("noqa") for module in modules}
    places = tuple(f"{name}: {count}" for name, count in silenced.items() if count)
    said = 1000 * sum(len(module.comments) for module in modules)
    largest = rooms(modules)[0]
    return [
        Bar("errors of mypy", errors, "at most", 0, tuple(lines)),
        Bar("noqa", sum(silenced.values()), "below", 10, places),
        Bar(
            "comments a thousand lines of code",
            round(said / sum(module.code_lines for module in modules), 1),
            "at least",
            25,
        ),
        Bar("lines of the largest room", largest["lines"], "below", 4500, (largest["room"],)),
    ]


def table(columns: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> str:
    """A Markdown table."""
    lines = [columns, ("---",) * len(columns), *rows]
    return "\n".join(f"| {' | '.join(map(cell, line))} |" for line in lines)


def cell(value: Any) -> str:
    """A value of a table."""
    if value is None:
        return "-"
    return value if isinstance(value, str) else f"{value:,g}" if value < 10_000 else f"{value:,}"


def report(bars: list[Bar], modules: list[Module]) -> str:
    """Both tables as Markdown."""
    measured = table(
        ("Measure", "Value", "Aim", ""),
        ((bar.name, bar.value, bar.aim, bar.verdict) for bar in bars),
    )
    found = rooms(modules)
    sizes = table(("Room", "Files", "Lines"), (tuple(row.values()) for row in found))
    return f"{measured}\n\n{sizes}"


def fill(path: pathlib.Path, text: str) -> None:
    """Put the text between the two marks of a Markdown file."""
    before = path.read_text(encoding="utf-8")
    if before.count(BEGIN) != 1 or before.count(END) != 1:
        raise SystemExit(f"{path}: needs {BEGIN} and {END} once each")
    head, rest = before.split(BEGIN)
    path.write_text(f"{head}{BEGIN}\n{text}\n{END}{rest.split(END)[1]}", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", type=pathlib.Path, default=HERE, help="checkout that is measured")
    parser.add_argument("--list", action="store_true", help="every place behind a missed bar")
    parser.add_argument("--out", help="JSON file")
    parser.add_argument(
        "--write", type=pathlib.Path, metavar="FILE", help=f"Markdown file with {BEGIN} … {END}"
    )
    args = parser.parse_args()
    root = args.root.resolve()
    package = root / "plugins" / "fastseek"
    modules = read_modules(package)
    known = [function for module in modules for function in functions(module)]
    bars = [
        *import_bars(modules, package.name, root),
        *size_bars(modules, known),
        *interface_bars(known),
        *care_bars(modules, root, package),
    ]
    text = report(bars, modules)
    print(text)
    for bar in bars if args.list else ():
        if bar.is_reached is False:
            print(f"\n{bar.name}:", *bar.places, sep="\n  ")
    if args.write:
        fill(args.write, text)
    rows = [*(bar.row() for bar in bars), *rooms(modules)]
    write(args.out, "how the package is written, beside its bars", (), rows)


if __name__ == "__main__":
    main()
