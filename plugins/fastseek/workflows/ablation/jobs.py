"""The trainings of an ablation, one after the other or several side by side."""

from __future__ import annotations

import json
import multiprocessing
import os
import pathlib
import signal
import sys
import tempfile
from collections.abc import Sequence
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess

import torch

from ... import errors
from ...distributed.launch import Forwarding
from ...errors import FastSeekError, RunError
from ...progress import tell
from .train import Answer, train_and_answer

Work = Sequence[Answer]


def work_off(works: Sequence[Work], jobs: int = 1) -> None:
    """Do all of the work; what is finished stays finished when something fails.

    Args:
        works: each with one training.
        jobs: how many processes do it side by side, sharing the CPU; 1 does it in this process.

    Raises:
        FastSeekError: the first error; the other trainings are asked to save and end.
    """
    if jobs == 1 or len(works) == 1:
        for number, work in enumerate(works, 1):
            _announce(work, number, len(works))
            train_and_answer(work)
        return
    with tempfile.TemporaryDirectory(prefix="fastseek-") as told:
        _side_by_side(works, jobs, pathlib.Path(told))


def _announce(work: Work, number: int, count: int) -> None:
    names = ", ".join(one.step for one in work)
    tell(f"{number} of {count}: {names} (seed {work[0].seed}), log in {work[0].training}")


def _side_by_side(works: Sequence[Work], jobs: int, told: pathlib.Path) -> None:
    context = multiprocessing.get_context("spawn")
    threads = max(1, torch.get_num_threads() // jobs)
    running: dict[int, BaseProcess] = {}
    pids: list[int] = []
    waiting = list(enumerate(works, 1))
    with Forwarding(pids):
        try:
            while waiting or running:
                while waiting and len(running) < jobs:
                    number, work = waiting.pop(0)
                    _announce(work, number, len(works))
                    process = context.Process(
                        target=_child, args=(work, threads, str(told / str(number)))
                    )
                    process.start()
                    running[process.sentinel] = process
                    pids.append(process.pid)
                for sentinel in wait(list(running)):
                    _take_ended(running.pop(sentinel), told)
        finally:
            for process in running.values():
                process.terminate()
            for process in running.values():
                process.join()


def _take_ended(process: BaseProcess, told: pathlib.Path) -> None:
    process.join()
    if process.exitcode == 0:
        return
    for path in sorted(told.iterdir(), key=lambda path: path.stat().st_mtime_ns):
        kind, message = json.loads(path.read_text(encoding="utf-8"))
        raise getattr(errors, kind)(message)
    raise RunError(
        f"a training process ended with {process.exitcode} (see its log); what was finished stays:"
        " run the same command again to go on"
    )


def _child(work: Work, threads: int, told: str) -> None:
    """The parent passes signals on, so that the terminal's own are heard once."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(threads)
    try:
        train_and_answer(work)
    except FastSeekError as error:
        pathlib.Path(told).write_text(
            json.dumps([type(error).__name__, str(error)]), encoding="utf-8"
        )
        sys.exit(error.exit_code)
