"""What parts say of themselves, which docs/parts.md prints: every one, and as what it takes."""

import inspect
import re
import subprocess
import sys
import urllib.error

import pytest

from fastseek.config import trial
from fastseek.config.keys import OURS
from fastseek.errors import DataError
from fastseek.registry import (
    build,
    parse,
    read_arguments,
    read_docstrings,
    registries,
    split_docstring,
)

KINDS = registries()
DOCS = {kind: read_docstrings(members) for kind, members in KINDS.items()}
PARTS = [(kind, name) for kind, docs in DOCS.items() for name in docs]
# They come from no paper and no contest: readers of files, plain image operations, our own searches.
OWN = {
    "datasets": "folder landmarks manifest planted_places rendered",
    "transforms": """blur brightness center_crop channel_shuffle color_jitter grayscale hflip jpeg
        perspective planted_noise random_rotate90 resize vflip""",
    "samplers": "shuffle",
    "schedules": "piecewise",
    "views": "hflip",
    "enhance": "center l2",
    "search": "exact quantized sharded",
    "classification": "by_size class_mean top",
    "evaluators": "retrieval",
}


def test_a_docstring_is_taken_apart():
    doc = split_docstring(
        """Put the first
        last.

        More of it.

        Args:
            up, down: how far,
                in places.
            p: how often: always.

        Raises:
            ValueError: too far.

        Source: Someone, A Paper: With a
            Colon, 2020
        Example: swap(up=1)
        """
    )
    assert doc.what == "Put the first last." and doc.more == "More of it."
    assert dict(doc.arguments) == {"up, down": "how far, in places.", "p": "how often: always."}
    assert doc.meaning("down") == "how far, in places." and doc.meaning("sideways") == ""
    assert doc.source == "Someone, A Paper: With a Colon, 2020"
    assert (doc.raises, doc.example) == ("ValueError: too far.", "swap(up=1)")
    assert split_docstring("Only this.") == split_docstring("Only this.\n")
    assert split_docstring("").what == ""


@pytest.mark.parametrize("kind", KINDS)
def test_the_files_name_the_parts_that_an_import_of_all_of_them_registers(kind):
    ours = {name: part for name, part in KINDS[kind] if part.__module__.startswith("fastseek.")}
    assert list(DOCS[kind]) == sorted(ours)
    for name, part in ours.items():
        assert DOCS[kind][name] == split_docstring(part.__doc__), name


@pytest.mark.parametrize("kind", KINDS)
def test_every_part_says_what_each_argument_is_and_names_no_other(kind):
    for name, doc in DOCS[kind].items():
        arguments = read_arguments(KINDS[kind], name)
        assert [one.name for one in arguments if not one.meaning] == [], name
        told = {one for names in doc.arguments for one in names.split(", ")}
        taken = set(inspect.signature(KINDS[kind].get(name)).parameters)
        assert told <= taken, name


@pytest.mark.parametrize("kind", KINDS)
def test_every_part_names_the_paper_or_contest_it_comes_from(kind):
    lacking = {name for name, doc in DOCS[kind].items() if not doc.source}
    assert lacking == set(OWN.get(kind, "").split()), "write `Source:` into the docstring"


@pytest.mark.parametrize(("kind", "name"), PARTS)
def test_the_example_of_a_part_is_a_call_that_it_takes(kind, name):
    call, members = DOCS[kind][name].example, KINDS[kind]
    called, args, kwargs = parse(call)
    assert called == name
    signature = inspect.signature(members.get(name))
    given = {key: None for key in members.runtime if key in signature.parameters}
    signature.bind(*args, **kwargs, **given)


def refuse(*_, **__):
    raise urllib.error.URLError("tests have no network")


@pytest.mark.parametrize(
    ("kind", "name"),
    [pair for pair in PARTS if not KINDS[pair[0]].runtime and pair[0] != "backbones"],
)
def test_the_example_of_a_part_builds_it(kind, name, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))  # what is drawn lies below it
    monkeypatch.setenv("FASTREID_DATASETS", str(tmp_path))
    monkeypatch.setattr("fastseek.data.datasets._fetch.urllib.request.urlopen", refuse)
    monkeypatch.chdir(tmp_path)
    try:
        build(DOCS[kind][name].example, KINDS[kind])
    except DataError as error:
        # it wants files that only a user has
        assert re.search("not found|no such|could not be|cannot be", str(error)), error


@pytest.mark.parametrize(
    ("kind", "attempt"),
    [
        ("branches", trial.try_branch),
        ("losses", trial.try_loss),
        ("schedules", lambda call: trial.try_schedule(call, 100)),
        ("samplers", lambda call: trial.try_sampler(call, 16)),
    ],
)
def test_the_examples_of_parts_that_the_program_completes_build_them(kind, attempt):
    for doc in DOCS[kind].values():
        attempt(doc.example)


def test_every_key_that_holds_call_strings_names_a_kind_of_part():
    kinds = {key.name: key.calls for key in OURS if key.calls}
    assert set(kinds.values()) <= set(KINDS) and len(kinds) > 10
    told = {key.name for key in OURS if re.match(r"call strings? of [A-Z]", key.comment)}
    assert told <= set(kinds)


def test_a_list_of_all_parts_imports_none_of_them():
    script = (
        "import sys\n"
        "for name in ('torch', 'numpy', 'fastreid', 'PIL'):\n"
        "    sys.modules[name] = None\n"
        "from fastseek import cli\n"
        "cli.call_verb('parts', [])\n"
        "cli.call_verb('parts', ['losses'])\n"
        "cli.call_verb('parts', ['losses', 'triplet'])\n"
        "cli.call_verb('parts', ['tripelt'])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "no part or kind of part is called 'tripelt'; did you mean 'triplet'?" in done.stderr
    assert "  triplet  " in done.stdout and "  triplet(on, " in done.stdout
    assert "losses: triplet(on, margin, normalize" in done.stdout
    assert "  margin\n      of the hinge" in done.stdout
