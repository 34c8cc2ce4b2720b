"""The rules of the house that a reader would otherwise have to check by eye."""

import ast
import importlib
import inspect
import io
import pathlib
import re
import subprocess
import tokenize

import pytest
from sources import nodes, parse

from fastseek import compat, register, registry  # noqa: F401

from fastreid.config import get_cfg

ROOT = pathlib.Path(__file__).parents[1]
PACKAGE = ROOT / "plugins" / "fastseek"
SOURCES = sorted(PACKAGE.rglob("*.py"))
EVERYTHING = [
    path
    for folder in ("plugins", "tools", "tests", "benchmarks", "projects")
    for path in sorted((ROOT / folder).rglob("*.py"))
]
REGISTRIES = {
    name: value for name, value in vars(registry).items() if isinstance(value, registry.Registry)
}
FOLDERS = {
    "DATASETS": "data.datasets",
    "TRANSFORMS": "data.transforms",
    "SAMPLERS": "data.samplers",
    "BACKBONES": "modeling.backbones",
    "BRANCHES": "modeling.branches",
    "LOSSES": "modeling.losses",
    "VIEWS": "views",
    "ENHANCERS": "enhance",
    "EVALUATORS": "training.evaluators",
    "ADAPTERS": "adapt",
    "SEARCHERS": "search",
    "RERANKERS": "rerank",
    "FUSERS": "fuse",
    "METRICS": "metrics",
    "PROTOCOLS": "protocols",
    "SCHEDULES": "schedules",
    "BLOCKS": "modeling.blocks",
    "CLASS_METRICS": "classification",
    "CROPS": "data.crops",
}


@pytest.fixture(scope="module", autouse=True)
def registered():
    register(get_cfg())
    for folder in FOLDERS.values():
        if (PACKAGE / folder.replace(".", "/")).exists():
            importlib.import_module(f"fastseek.{folder}")


def told(path):
    return path.relative_to(ROOT).as_posix()


def comments(path):
    for token in tokenize.generate_tokens(io.StringIO(path.read_text()).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string.lstrip("#").strip()


def members():
    return [
        (name, part, made) for name, parts in REGISTRIES.items() for part, made in sorted(parts)
    ]


def test_nothing_is_imported_by_star_and_no_path_is_bent():
    for path in EVERYTHING:
        for node in nodes(path):
            if isinstance(node, ast.ImportFrom):
                assert all(alias.name != "*" for alias in node.names), f"{told(path)}:{node.lineno}"
            if (
                isinstance(node, ast.Attribute)
                and node.attr == "path"
                and isinstance(node.value, ast.Name)
            ):
                assert node.value.id != "sys", f"{told(path)}:{node.lineno} touches sys.path"


def test_only_the_command_line_prints():
    for path in [path for path in SOURCES if path.parent != PACKAGE / "cli"]:
        calls = [
            node.lineno
            for node in nodes(path)
            if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in ("print", "input", "breakpoint")
        ]
        assert calls == [], told(path)


def test_nothing_in_the_package_runs_text_as_code():
    for path in SOURCES:
        for node in nodes(path):
            if isinstance(node, ast.Call):
                name = node.func.id if isinstance(node.func, ast.Name) else ""
                assert name not in ("eval", "exec", "compile"), f"{told(path)}:{node.lineno}"
                shell = [
                    key
                    for key in node.keywords
                    if key.arg == "shell" and getattr(key.value, "value", True)
                ]
                assert not shell, f"{told(path)}:{node.lineno} starts a shell"


def test_modules_and_folders_are_named_for_what_they_hold():
    vague = re.compile(r"(^|_)(util|utils|common|helper|helpers|misc|stuff)(_|$)")
    bad = [
        told(path)
        for path in SOURCES
        if any(vague.search(part) for part in path.relative_to(PACKAGE).with_suffix("").parts)
    ]
    assert bad == []


def test_a_part_is_called_as_its_file():
    wrong = []
    for name, part, made in members():
        module = inspect.getmodule(made).__name__
        if module.startswith("fastseek.") and module != f"fastseek.{FOLDERS.get(name)}.{part}":
            wrong.append(f"{name} {part} lives in {module}")
    assert wrong == []


def test_a_file_registers_one_part_at_most():
    counts = {}
    for _, part, made in members():
        counts.setdefault(inspect.getmodule(made).__name__, []).append(part)
    assert {module: parts for module, parts in counts.items() if len(parts) > 1} == {}


def test_every_registry_states_its_contract_and_has_a_folder():
    for name, parts in REGISTRIES.items():
        assert parts.__doc__ and len(parts.__doc__) > 60, name
        assert name in FOLDERS, (
            f"say in tests/test_house.py which folder holds the members of {name}"
        )


@pytest.mark.parametrize("name", sorted(REGISTRIES))
def test_every_registry_has_members_and_each_says_what_it_does(name):
    parts = sorted(REGISTRIES[name])
    assert parts, f"{name} is empty"
    for part, made in parts:
        assert made.__doc__ and made.__doc__ != object.__doc__, f"{name} {part} has no docstring"
        assert "." in made.__doc__, f"{name} {part}: its docstring holds no sentence"
        known = [key for key in inspect.signature(made).parameters if key not in ("args", "kwargs")]
        assert all(re.fullmatch(r"[a-z][a-z0-9_]*", key) for key in known), (
            f"{name} {part}: {known}"
        )


def test_every_module_and_every_public_name_has_a_docstring():
    bare = []
    for path in SOURCES:
        parsed = parse(path)
        if not ast.get_docstring(parsed):
            bare.append(told(path))
        for node in parsed.body:
            public = isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith(
                "_"
            )
            if public and not ast.get_docstring(node):
                bare.append(f"{told(path)}:{node.lineno} {node.name}")
    # the inside of the nouns is documented by the nouns
    assert [name for name in bare if "structures/archive.py" not in name] == []


def test_files_and_functions_stay_short():
    long = []
    for path in SOURCES:
        lines = len(path.read_text().splitlines())
        long += [f"{told(path)}: {lines} lines"] if lines > 450 else []
        for node in nodes(path):
            if isinstance(node, ast.FunctionDef):
                doc = node.body[0] if ast.get_docstring(node) else None
                size = (
                    node.end_lineno
                    - node.lineno
                    + 1
                    - (doc.end_lineno - doc.lineno + 1 if doc else 0)
                )
                long += (
                    [f"{told(path)}:{node.lineno} {node.name}: {size} lines"] if size > 75 else []
                )
    assert long == []


def test_no_comment_is_code_a_stamp_or_a_promise():
    kinds = (
        ast.Assign,
        ast.AugAssign,
        ast.Import,
        ast.ImportFrom,
        ast.Return,
        ast.If,
        ast.For,
        ast.Raise,
        ast.Delete,
    )
    bad = []
    for path in EVERYTHING:
        for line, text in comments(path):
            if re.search(r"\b(TODO|FIXME|XXX|HACK)\b|@author|@contact", text):
                bad.append(f"{told(path)}:{line}: {text}")
            try:
                body = ast.parse(text).body
            except (SyntaxError, ValueError):
                continue
            if any(
                isinstance(node, kinds)
                or isinstance(node, ast.Expr)
                and isinstance(node.value, ast.Call)
                for node in body
            ):
                bad.append(f"{told(path)}:{line}: {text}")
    assert bad == []


def test_no_file_of_the_repository_knows_a_machine():
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z"], capture_output=True, text=True, check=False
    )
    names = [name for name in listed.stdout.split("\0") if name] if listed.returncode == 0 else []
    paths = [ROOT / name for name in names] or EVERYTHING
    machine = re.compile(
        r"(?<![\w.\-])/(work|root|Users|mnt|data\d*|export)/\w|/tmp/(venv|w)\b|/home/(?!someone\b)\w"
    )
    bad = []
    for path in paths:
        if (
            path.suffix in (".py", ".yml", ".yaml", ".md", ".toml", ".json", ".txt", ".cfg", "")
            and path.is_file()
        ):
            if path == pathlib.Path(__file__):
                continue
            for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
                bad += (
                    [f"{told(path)}:{number}: {line.strip()[:80]}"] if machine.search(line) else []
                )
    assert bad == []


def test_the_packages_data_files_are_packed():
    packed = (ROOT / "pyproject.toml").read_text()
    for path in PACKAGE.rglob("*"):
        if path.is_file() and path.suffix not in (".py", ".pyc", ".typed"):
            assert f"{path.parent.name}/*{path.suffix}" in packed, (
                f"{told(path)} would be missing in the wheel"
            )
