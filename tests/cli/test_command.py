"""The command as a whole: its help, its doors, its recipes, what a wheel holds, how it ends."""

import argparse
import importlib.metadata
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys

import numpy as np
import pytest
from golden import run_tools

import toy
from fastseek import cli, registry
from fastseek.cli import parts
from fastseek.cli._recipe_arguments import check_changes
from fastseek.errors import UsageError
from fastseek.io import paths
from fastseek.io.paths import look_up_recipe
from fastseek.structures import Ranking

ROOT = pathlib.Path(__file__).parents[2]
DOORS = sorted(path.name for path in (ROOT / "tools").glob("*.py"))
OLD_OPTIONS = json.loads((ROOT / "tests/golden/options.json").read_text())
RECIPES = sorted(
    path.relative_to(ROOT)
    for folder in ("configs", "projects")
    for path in (ROOT / folder).rglob("*.yml")
)
BARE = {"demo", "doctor", "parts"}  # verbs whose whole command line is their name


class Parsed(Exception):
    """A command line that was read, before any work is done."""


def read(monkeypatch, verb, words):
    """What a verb's parser makes of its words."""
    inner = argparse.ArgumentParser.parse_known_args

    def stop(parser, *given, **more):
        found = inner(parser, *given, **more)
        if parser.prog != f"fastseek {verb}":
            return found  # the parser of a subcommand
        raise Parsed(*found)

    monkeypatch.setattr(argparse.ArgumentParser, "parse_known_args", stop)
    with pytest.raises(Parsed) as parsed:
        cli.call_verb(verb, words)
    monkeypatch.undo()
    return parsed.value.args[0]


def help_of(verb, capsys):
    with pytest.raises(SystemExit) as left:
        cli.main([verb, "--help"])
    assert left.value.code == 0
    return capsys.readouterr().out


def examples(verb, text):
    lines = [line.strip() for line in text.splitlines()]
    return [line for line in lines if f"{line} ".startswith(f"fastseek {verb} ")]


@pytest.mark.parametrize("verb", cli.VERBS)
def test_F38_every_help_shows_an_example_on_one_line_that_the_verb_reads(verb, capsys, monkeypatch):
    found = examples(verb, help_of(verb, capsys))
    assert found, "its help shows no example"
    for line in found:
        assert "\\" not in line and "…" not in line and len(line) <= 100, line
        words = shlex.split(line)[2:]
        assert verb in BARE or words, line
        read(monkeypatch, verb, words)


@pytest.mark.parametrize("verb", cli.RECIPE_OPTION)
def test_F38_a_recipe_that_a_help_names_is_there(verb, capsys):
    """One named configs/own.yml, which was in no checkout; config.yaml is the user's own."""
    firsts = [shlex.split(line)[2] for line in examples(verb, help_of(verb, capsys))]
    named = [name for name in firsts if not name.startswith("-") and not name.endswith(".yaml")]
    assert [name for name in named if look_up_recipe(name) is None] == []


@pytest.mark.parametrize("verb", cli.RECIPE_OPTION)
def test_the_usage_shows_the_recipe_where_it_is_written(verb, capsys):
    usage = " ".join(help_of(verb, capsys).partition("\n\n")[0].split())
    assert re.search(r"[ (\[]RECIPE[ )\]]", usage)
    assert not any(f"{option} RECIPE" in usage for option in ("--config-file", "--recipe"))


def test_the_help_of_the_command_names_every_verb(capsys):
    with pytest.raises(SystemExit) as left:
        cli.main(["--help"])
    assert left.value.code == 0
    shown = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line[:2] == "  "]
    assert set(cli.VERBS) <= set(shown)


@pytest.mark.parametrize("name", [name for name in DOORS if name not in ("readme.py", "seeds.py")])
def test_the_doors_in_tools_keep_their_flags(name):
    check_flags(run_tools.surface(run_tools.parser_of(ROOT / "tools" / name)), OLD_OPTIONS[name])


def check_flags(found, wanted):
    for flag, option in wanted["options"].items():
        now = dict(found["options"][flag])
        now["required"] |= option["required"]  # an option may stop being required
        assert now == option, flag
    for subcommand, inner in wanted["subcommands"].items():
        check_flags(found["subcommands"][subcommand], inner)


@pytest.mark.parametrize(
    ("verb", "old", "new"),
    [
        ("blend", "--probabilities a --figures f", "--probabilities a --metrics f"),
        ("diff", "a b --truth t --metric m", "a b --truth t --metrics m"),
        (
            "audit",
            "clean --ranking r --labels l --out o --neighbours 3",
            "clean --ranking r --labels l --out o --neighbors 3",
        ),
        (
            "subjects",
            "--config-file quick/dolg --weights w --ranking r --queries q --gallery g --out o",
            "quick/dolg --weights w --ranking r --images q --gallery g --out o",
        ),
        (
            "embed",
            "--config-file quick/dolg --weights w --images i --out o",
            "quick/dolg --weights w --images i --out o",
        ),
        ("contest", "--recipe quick/dolg --out o", "quick/dolg --out o"),
        ("self-train", "--plan quick/dolg --out o", "quick/dolg --out o"),
    ],
)
def test_old_and_new_spellings_of_options_mean_the_same(verb, old, new, monkeypatch):
    made = [vars(read(monkeypatch, verb, words.split())) for words in (old, new)]
    assert made[0] == made[1]


@pytest.mark.parametrize(
    ("verb", "line"),
    [
        ("export", "quick/dolg --weights w --out m.onnx --size 64 SEEK.CROPS [] MODEL.DEVICE cpu"),
        ("contest", "--out o --recipe quick/dolg SEEK.CROPS [] MODEL.DEVICE cpu"),
        ("contest", "quick/dolg --out o --short SEEK.CROPS [] MODEL.DEVICE cpu"),
        ("train", "quick/dolg --out o --resume SEEK.CROPS [] MODEL.DEVICE cpu"),
    ],
)
def test_F38_no_option_swallows_the_changes_behind_it(verb, line, monkeypatch):
    """Twice: as the parser's own words, and as what the verb makes of them."""
    made = []
    monkeypatch.setattr(cli._recipe_arguments, "check_changes", lambda opts: made.append(opts))
    read(monkeypatch, verb, shlex.split(line)[: shlex.split(line).index("SEEK.CROPS")])
    monkeypatch.setattr(cli._recipe_arguments, "check_changes", stop_with(made))
    with pytest.raises(Parsed):
        cli.call_verb(verb, shlex.split(line))
    assert made == [["SEEK.CROPS", "[]", "MODEL.DEVICE", "cpu"]]


def stop_with(made):
    def stop(opts):
        made.append(opts)
        raise Parsed

    return stop


@pytest.mark.parametrize(
    ("opts", "told"),
    [
        (["SOLVER.MAX_EPOCH=3"], "write SOLVER.MAX_EPOCH 3"),
        (["solver.max_epoch=3", "MODEL.DEVICE", "cpu"], "write solver.max_epoch 3"),
        (["SOLVER.MAX_EPOCH", "3", "MODEL.DEVICE"], "MODEL.DEVICE has no value"),
    ],
)
def test_F37_changes_that_are_no_pairs_are_told_how_to_be_written(opts, told):
    with pytest.raises(UsageError, match=told):
        check_changes(opts)
    check_changes(["SEEK.LOSSES", "['arcface(s=30)']"])


@pytest.mark.parametrize("name", [path.as_posix() for path in RECIPES])
def test_every_recipe_is_found_by_its_name_from_an_empty_folder(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder, _, rest = name.removesuffix(".yml").partition("/")
    assert pathlib.Path(paths.find_recipe(rest)) == ROOT / name
    project, _, inner = rest.partition("/")
    kind, _, last = inner.partition("/")
    if folder == "projects" and kind in ("configs", "plans", "small"):
        short = pathlib.Path(paths.find_recipe(f"{project}/{last}"))
        assert short.stem == pathlib.Path(name).stem


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("Grocery/dolg_mobilenet", "Grocery/dolg_mobilenetv2"),
        ("dolg_mobilenetv2", "Grocery/dolg_mobilenetv2"),
        ("grocery/DOLG_mobilenetv2.yml", "Grocery/dolg_mobilenetv2"),
        ("own", "Own/boxes"),
        ("configs/own.yml", "Own/boxes"),
        ("Landmark2021/smal/retrieval", "Landmark2021/small/retrieval"),
    ],
)
def test_a_recipe_that_is_not_there_is_told_with_the_nearest_names(
    wrong, right, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=rf"no such recipe.*did you mean.*\b{right}\b"):
        paths.find_recipe(wrong)
    with pytest.raises(UsageError, match="did you mean"):
        cli.call_verb("run", [wrong, "--out", "o"])
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_suggested_where_nothing_is_near():
    with pytest.raises(UsageError, match="by name; `fastseek recipes list` shows all"):
        paths.find_recipe("zzzzqqq")


def test_what_is_built_holds_every_module_page_file_and_recipe(tmp_path):
    lib = tmp_path / "lib"
    commands = ["egg_info", "--egg-base", tmp_path, "build_py", "--build-lib", lib]
    done = subprocess.run(
        [sys.executable, "setup.py", "-q", *map(str, commands)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    built = {path.relative_to(lib / "fastseek").as_posix() for path in lib.rglob("*.*")}
    assert {f"_recipes/{path.as_posix()}" for path in RECIPES} <= built
    package = ROOT / "plugins" / "fastseek"
    sources = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert sources <= built
    assert not [name for name in built if name.endswith((".jpg", ".npy", ".safetensors"))]


def test_the_installed_command_is_this_one():
    scripts = importlib.metadata.distribution("fastseek").entry_points
    assert [(one.name, one.value) for one in scripts] == [("fastseek", "fastseek.cli:main")]


@pytest.fixture
def searched(tmp_path, monkeypatch, capsys):
    """A search of 6 images in 12 by the command; its folder is the working folder."""
    monkeypatch.chdir(tmp_path)
    for name, count in (("q", 6), ("g", 12)):
        np.save(f"{name}.npy", toy.circle(np.arange(count) % 3, count, 0.4))
    cli.call_verb("search", "--queries q.npy --gallery g.npy --out r.npz".split())
    capsys.readouterr()
    return tmp_path


def test_rerank_gives_what_search_gives_with_the_same_rerankers(searched, capsys):
    sides = "--queries q.npy --gallery g.npy".split()
    steps = ["--rerank", "k_reciprocal(k1=4, k2=2)", "--rerank", "super_global(m=6, k=3)"]
    cli.call_verb("search", [*sides, *steps, "--out", "at_once.npz"])
    cli.call_verb("rerank", ["--ranking", "r.npz", *sides, *steps, "--out", "after.npz"])
    assert "6 queries, 12 of 12 images each: after.npz" in capsys.readouterr().out
    first, second = Ranking.load("at_once.npz"), Ranking.load("after.npz")
    np.testing.assert_array_equal(first.indices, second.indices)
    np.testing.assert_array_equal(first.scores, second.scores)
    assert first.provenance == second.provenance


def test_rerank_refuses_embeddings_of_others(searched):
    np.save("few.npy", toy.circle(np.arange(5) % 3, 5))
    wrong = "--ranking r.npz --queries few.npy --gallery g.npy --rerank diffusion() --out x.npz"
    with pytest.raises(Exception, match="quer") as raised:
        cli.call_verb("rerank", wrong.split())
    assert getattr(raised.value, "exit_code", 1) in (3, 5)
    assert not (searched / "x.npz").exists()


def test_parts_lists_every_kind_one_kind_and_one_part():
    everything = parts.describe()
    for kind, members in registry.registries().items():
        assert f"{kind}:\n" in everything
        one = parts.describe(kind)
        assert all(f"\n  {name}(" in one for name in members.names()), kind
    assert parts.describe("k_reciprocal").startswith("rerank: k_reciprocal(k1: int")
    with pytest.raises(UsageError, match="'k_reciprocl'; did you mean 'k_reciprocal'"):
        parts.describe("k_reciprocl")


@pytest.mark.parametrize("buffered", [True, False])
@pytest.mark.parametrize("verb", ["recipes list", "--help"])
def test_F64_a_reader_who_leaves_ends_a_command_without_a_word(verb, buffered):
    command = [sys.executable, "-m", "fastseek", *verb.split()]
    # an empty value is no value
    environ = {**os.environ, "PYTHONUNBUFFERED": "" if buffered else "1"}
    environ["PYTHONPATH"] = str(ROOT / "plugins")
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, env=environ, text=True)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


PLUGIN = '''"""A part that is known only after register(cfg)."""

from fastseek.registry import RERANKERS


def register(cfg):
    assert cfg.SEEK.RERANK == [] and cfg.MODEL.DEVICE

    class Backward:
        """Turn the scores around; nothing else."""

        def __call__(self, ranking, queries, gallery):
            return -ranking.scores

    RERANKERS.register(Backward)
'''


def test_a_part_that_a_plugin_registers_for_a_recipe_is_seen_by_the_option(
    searched, capsys, monkeypatch
):
    monkeypatch.setattr(registry.RERANKERS, "_obj_map", dict(registry.RERANKERS._obj_map))
    (searched / "mine.py").write_text(PLUGIN)
    cli.call_verb("parts", ["backward", "--plugin", "mine.py"])
    assert "Turn the scores around" in capsys.readouterr().out
    (searched / "wrong.py").write_text("def register(cfg):\n    cfg.nothing.there\n")
    with pytest.raises(UsageError, match=r"plugin 'wrong.py' failed in its register\(cfg\)"):
        cli.call_verb("parts", ["--plugin", "wrong.py"])
