import os
import pathlib
import signal
import subprocess
import sys

import pytest

from fastseek.distributed import run_lock as folders
from fastseek.distributed.run_lock import hold_run_folder, wait_for_run_folder
from fastseek.errors import RunError, UsageError
from fastseek.io.locks import hold_folder
from fastseek.training.trainer import Trainer

HOLDER = """
import pathlib, sys
from fastseek.io.locks import hold_folder
with hold_folder(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder():
    """holder(folder) -> a second process that holds it."""
    started = []

    def start(folder):
        package = str(pathlib.Path(folders.__file__).parents[2])
        child = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": package},
        )
        started.append(child)
        assert child.stdout.readline() == "held\n"
        return child

    yield start
    for child in started:
        child.kill()
        child.communicate()


def test_a_second_run_in_the_same_folder_ends_at_once_and_touches_nothing(recipe_of, holder):
    cfg = recipe_of(SOLVER__MAX_EPOCH=1)
    early = Trainer(cfg)
    (pathlib.Path(cfg.OUTPUT_DIR) / "classes.json").write_text("the first run's")
    other = holder(cfg.OUTPUT_DIR)
    for begin in (lambda: Trainer(cfg), early.train, early.resume_or_load):
        with pytest.raises(RunError, match=f'"pid": {other.pid}, "host"'):
            begin()
    assert (pathlib.Path(cfg.OUTPUT_DIR) / "classes.json").read_text() == "the first run's"
    other.send_signal(signal.SIGKILL)
    other.wait()
    Trainer(cfg).train()
    assert not (pathlib.Path(cfg.OUTPUT_DIR) / ".lock").exists()


def test_a_run_holds_its_folder_while_it_trains_and_its_loader_workers_do_not(recipe_of, forked):
    cfg = recipe_of(SOLVER__MAX_EPOCH=1, DATALOADER__NUM_WORKERS=1)
    trainer = Trainer(cfg)
    step, ends = trainer.run_step, []

    def second():
        with pytest.raises(RunError, match="writing here"), hold_run_folder(cfg.OUTPUT_DIR):
            pass

    def run_step():
        step()
        ends.append(forked(second))

    trainer.run_step = run_step
    trainer.train()
    assert ends == [0, 0, 0]
    with hold_run_folder(cfg.OUTPUT_DIR):
        pass


def test_one_run_may_hold_its_folder_twice_and_lets_go_at_the_end_of_the_outer_block(
    tmp_path, forked
):
    def other():
        with hold_run_folder(tmp_path):
            pass

    with hold_run_folder(tmp_path):
        with hold_run_folder(tmp_path):
            pass
        assert forked(other) == 1
    assert forked(other) == 0


def test_a_folder_that_cannot_be_made_is_a_wrong_recipe(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(UsageError, match="cannot be written"),
        hold_run_folder(tmp_path / "file" / "out"),
    ):
        pass


def test_a_process_that_waits_for_a_folder_has_it_when_the_other_lets_go(tmp_path, monkeypatch):
    looks = []
    other = hold_folder(tmp_path)
    other.__enter__()

    def sleep(seconds):
        looks.append(seconds)
        if len(looks) == 3:
            other.__exit__(None, None, None)

    monkeypatch.setattr(folders.time, "sleep", sleep)
    with wait_for_run_folder(tmp_path):
        assert len(looks) == 3
        with pytest.raises(RunError), hold_folder(tmp_path):
            pass
    with pytest.raises(RunError, match="inside"), wait_for_run_folder(tmp_path):
        raise RunError("inside")
