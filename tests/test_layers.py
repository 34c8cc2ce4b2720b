"""Who may import whom: the table of DESIGN.md section 3, read from the sources."""

import ast
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1] / "plugins" / "fastseek"

# A room may import rooms of lower levels, and itself; level 0 also its own level.
LEVELS = {
    0: "errors progress compat io registry structures",
    1: """data.images data.synthetic knn regions formats report classification views schedules
          modeling.layers""",
    2: """data.rejects data.datasets data.transforms data.samplers data.crops
          modeling.backbones modeling.blocks modeling.branches modeling.heads modeling.losses
          enhance search metrics fuse self_training audit""",
    3: "recognition distributed",
    4: "rerank",
    5: "retrieval index data modeling config",
    6: "inference",
    7: "training",
    8: "workflows",
    9: "service cli",
}
ABSENT = {"index", "service"}  # rooms of the plan that are not built yet
LEVEL = {room: level for level, rooms in LEVELS.items() for room in rooms.split()}
FASTREID = {
    "config",
    "data.builders",
    "data.fastreid_datasets",
    "distributed",
    "inference",
    "modeling",
    "modeling.backbones",
    "modeling.blocks",
    "modeling.branches",
    "modeling.heads",
    "modeling.layers",
    "modeling.losses",
    "training",
    "workflows",
}
# What runs without torch and fast-reid: the retrieval half and its verbs.
RETRIEVAL_HALF = """errors progress io registry structures knn regions formats report classification
    enhance search metrics fuse recognition rerank retrieval
    cli.blend cli.diff cli.fuse cli.recognize cli.report cli.score cli.score_contests cli.search
    cli.submit""".split()


def is_retrieval_half(name):
    """Whether a module has to work where neither torch nor fast-reid is installed."""
    return bool({name, group(name)} & set(RETRIEVAL_HALF))


def modules():
    """Dotted name below fastseek ("" is the package itself) -> file."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imports(name, nodes=ast.walk):
    """What a module imports: ("ours", dotted name) and ("other", top name, line)."""
    path = MODULES[name]
    home = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    home = [part for part in home if part]
    for node in nodes(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from known(alias.name.split("."), "", node.lineno)
        elif isinstance(node, ast.ImportFrom):
            up = ["fastseek", *home[: len(home) - node.level + 1]] if node.level else []
            for alias in node.names:
                yield from known(
                    [*up, *(node.module or "").split(".")] if node.module else up,
                    alias.name,
                    node.lineno,
                )


def known(base, last, line):
    if base[0] != "fastseek":
        yield "other", base[0], line
        return
    inner = ".".join(base[1:])
    full = ".".join([*base[1:], last])
    yield "ours", full if full in MODULES else inner, line


def top_level(tree):
    return tree.body


def group(name):
    """The line of the table a module belongs to."""
    parts = name.split(".")
    for size in (2, 1):
        if ".".join(parts[:size]) in LEVEL:
            return ".".join(parts[:size])
    return None


def test_every_module_stands_in_the_table():
    missing = [name for name in MODULES if name not in ("", "modeling") and group(name) is None]
    assert missing == [], (
        f"{missing} are in no line of LEVELS: say in tests/test_layers.py which level they are"
    )


@pytest.mark.parametrize("name", [name for name in MODULES if name not in ("", "data", "modeling")])
def test_a_module_imports_only_what_its_level_may(name):
    mine = group(name)
    for kind, other, line in imports(name):
        if kind != "ours" or other == "":
            assert other != "" or LEVEL[mine] >= 6 or name == "", (
                f"{name}:{line} imports the whole package"
            )
            continue
        theirs = group(other)
        legal = theirs == mine or LEVEL[theirs] < LEVEL[mine]
        legal = legal or LEVEL[mine] == LEVEL[theirs] == 0
        assert legal, f"{name}:{line} (level {LEVEL[mine]}) imports {other} (level {LEVEL[theirs]})"


def test_only_the_training_half_imports_fastreid_and_always_after_compat():
    for name in MODULES:
        found = list(imports(name))
        lines = [line for kind, other, line in found if (kind, other) == ("other", "fastreid")]
        if not lines:
            continue
        assert name in FASTREID or group(name) in FASTREID, f"{name}:{lines[0]} imports fastreid"
        before = [
            line
            for kind, other, line in found
            if (kind, other) == ("ours", "compat") and line < lines[0]
        ]
        packages = [name.rsplit(".", depth)[0] for depth in range(1, name.count(".") + 1)]
        before += [1 for package in packages if ("ours", "compat") in compat_of(package)]
        assert before, f"{name}:{lines[0]} imports fastreid before compat"


def compat_of(package):
    return {(kind, other) for kind, other, _ in imports(package)}


def test_no_import_makes_a_circle():
    graph = {
        name: {
            other for kind, other, _ in imports(name, top_level) if kind == "ours" and other != name
        }
        for name in MODULES
    }
    done, path = set(), []

    def visit(name):
        assert name not in path, " -> ".join([*path[path.index(name) :], name])
        if name in done:
            return
        path.append(name)
        for other in sorted(graph[name]):
            visit(other)
        path.pop()
        done.add(name)

    for name in graph:
        visit(name)


def test_the_package_imports_nothing_of_the_repository_around_it():
    for name in MODULES:
        bad = [
            other
            for kind, other, _ in imports(name)
            if kind == "other"
            and other in ("projects", "tools", "configs", "tests", "benchmarks", "toy")
        ]
        assert bad == [], f"{name} imports {bad}"


def test_the_retrieval_half_imports_without_torch_and_fastreid():
    names = [name for name in MODULES if is_retrieval_half(name)]
    assert len(names) > 30
    script = (
        "import sys, importlib\n"
        "for name in ('torch', 'fastreid', 'faiss', 'torchvision', 'timm', 'yacs'):\n"
        "    sys.modules[name] = None\n"
        f"for name in {names!r}:\n    importlib.import_module('fastseek.' + name)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(ROOT.parent)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr


def test_importing_the_retrieval_half_is_not_what_loads_torch():
    names = [name for name in MODULES if is_retrieval_half(name)]
    script = (
        f"import sys, importlib\nfor name in {names!r}:\n    importlib.import_module('fastseek.' +"
        " name)\nprint(sorted({'torch', 'fastreid', 'faiss', 'timm'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(ROOT.parent)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
