"""F69: on a machine with other work two threads that spin took seven times the CPU seconds."""

import os
import sys

import pytest

from fastseek import cli
from fastseek.cli import _allocator, _threads
from fastseek.cli._threads import SLEEP, share_processors


def test_F69_threads_sleep_while_they_wait_and_are_no_more_than_the_processors(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    environ = {"PATH": "/bin"}
    share_processors(environ, processors=2)
    assert environ == {"PATH": "/bin", **SLEEP, "OMP_NUM_THREADS": "2"}


def test_F69_with_all_processors_the_number_of_threads_is_the_librarys(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    environ = {}
    share_processors(environ, processors=4)
    assert environ == SLEEP


@pytest.mark.parametrize("own", [{"OMP_WAIT_POLICY": "ACTIVE"}, {"KMP_BLOCKTIME": "200"}])
def test_F69_a_choice_of_the_users_stays(own, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    environ = {**own, "OMP_NUM_THREADS": "7"}
    share_processors(environ, processors=2)
    assert environ == {**own, "OMP_NUM_THREADS": "7"}


@pytest.mark.parametrize("verb", ["run", "train", "embed"])
def test_F69_a_verb_that_runs_a_model_sets_them_before_its_module_is_loaded(verb, monkeypatch):
    order = []
    monkeypatch.setattr(_allocator, "keep_memory", lambda: order.append("memory"))
    monkeypatch.setattr(_threads, "share_processors", lambda: order.append("threads"))
    fake = type(sys)("verb")
    fake.main = lambda given: order.append(verb)
    monkeypatch.setattr(cli.importlib, "import_module", lambda *args: order.append("load") or fake)
    cli.call_verb(verb, ["--out", "x"])
    assert order == ["memory", "threads", "load", verb]
