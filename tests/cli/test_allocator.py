"""Memory that one batch frees serves the next, in whatever way a training is started."""

import os
import pathlib
import subprocess
import sys

import pytest

from fastseek import cli
from fastseek.cli import _allocator
from fastseek.cli._allocator import SETTINGS, keep_memory

ROOT = pathlib.Path(__file__).parents[2]
# Above 32 MB glibc asks the system for every block, whatever it has seen before.
FAULTS = """
import resource
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(8):
    bytearray(64 << 20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
KEEP = "from fastseek.cli._allocator import keep_memory\nassert keep_memory()\n"


class Library:
    """A C library that notes what it is told."""

    def __init__(self):
        self.told = {}

    def mallopt(self, number, value):
        self.told[number] = value
        return 1


def faults(script, **environ):
    """Pages that the system had to give to a script."""
    left_out = {name for _, name, _ in SETTINGS} | {"LD_PRELOAD", "GLIBC_TUNABLES"}
    kept = {name: value for name, value in os.environ.items() if name not in left_out}
    kept |= {"PYTHONPATH": str(ROOT / "plugins"), **environ}
    done = subprocess.run([sys.executable, "-c", script], env=kept, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_F43_what_was_freed_is_not_asked_of_the_system_again():
    plain, kept = faults(FAULTS), faults(KEEP + FAULTS)
    assert kept < plain / 4
    # and in the processes that a training starts
    inherited = faults(FAULTS, **{name: str(value) for _, name, value in SETTINGS})
    assert inherited < plain / 4


def test_F43_a_library_that_wants_a_smaller_threshold_gets_one():
    class Careful(Library):
        def mallopt(self, number, value):
            accepted = number != -3 or value <= 32 << 20
            return super().mallopt(number, value) if accepted else 0

    library, environ = Careful(), {}
    assert keep_memory(environ, library)
    assert library.told[-3] == 32 << 20 == int(environ["MALLOC_MMAP_THRESHOLD_"])


@pytest.mark.parametrize("error", [TypeError, OSError])
def test_F43_a_system_that_shows_no_library_of_its_own_is_left_alone(error, monkeypatch):
    def refuse(name):
        raise error("LoadLibrary() argument 1 must be str, not None")

    monkeypatch.setattr(_allocator.ctypes, "CDLL", refuse)
    environ = {}
    assert not keep_memory(environ)
    assert not environ


def test_F43_the_settings_reach_this_process_and_those_it_starts():
    library, environ = Library(), {"PATH": "/bin"}
    assert keep_memory(environ, library)
    assert library.told == {number: value for number, _, value in SETTINGS}
    assert environ == {"PATH": "/bin", **{name: str(value) for _, name, value in SETTINGS}}


@pytest.mark.parametrize(
    "own",
    [
        {"MALLOC_TOP_PAD_": "0"},
        {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"},
        {"LD_PRELOAD": "libjemalloc.so"},
    ],
)
def test_F43_settings_of_the_user_stay(own):
    library, environ = Library(), dict(own)
    assert not keep_memory(environ, library)
    assert library.told == {} and environ == own


def test_F43_another_allocator_is_left_alone():
    environ = {}
    assert not keep_memory(environ, object())
    assert environ == {}


@pytest.mark.parametrize("verb", cli.VERBS)
def test_F43_every_verb_that_runs_a_model_sets_them_and_no_other(verb, monkeypatch):
    called = []
    monkeypatch.setattr(_allocator, "keep_memory", lambda: called.append(verb))
    for words in (["--help"], ["--no-such-option"]):
        with pytest.raises(SystemExit):
            cli.call_verb(verb, words)
    assert called == ([verb] if verb in cli.MODEL_VERBS else [])
