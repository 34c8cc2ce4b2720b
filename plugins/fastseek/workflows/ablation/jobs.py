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
from multiprocessing.context import SpawnProcess
from typing import cast

import torch

from ... import errors
from ...distributed.launch import Forwarding
from ...errors import FastSeekError, RunError
from ...progress import tell
from .train import Answer, train_and_answer

Job = Sequence[Answer]  # the answers of one training


def run_jobs(jobs: Sequence[Job], processes: int = 1) -> None:
    """Do all jobs; what is finished stays finished when something fails.

    Args:
        jobs: each with one training.
        processes: how many do it side by side, sharing the CPU; with 1 it is this one.

    Raises:
        FastSeekError: the first error; the other trainings are asked to save and end.
    """
    if processes == 1 or len(jobs) == 1:
        for number, job in enumerate(jobs, 1):
            _announce(job, number, len(jobs))
            train_and_answer(job)
        return
    with tempfile.TemporaryDirectory(prefix="fastseek-") as folder:
        _run_side_by_side(jobs, processes, pathlib.Path(folder))


def _announce(job: Job, number: int, count: int) -> None:
    names = ", ".join(answer.step for answer in job)
    tell(f"{number} of {count}: {names} (seed {job[0].seed}), log in {job[0].training}")


def _run_side_by_side(jobs: Sequence[Job], processes: int, errors_in: pathlib.Path) -> None:
    context = multiprocessing.get_context("spawn")
    threads = max(1, torch.get_num_threads() // processes)
    running: dict[int, SpawnProcess] = {}
    pids: list[int] = []
    waiting = list(enumerate(jobs, 1))
    with Forwarding(pids):
        try:
            while waiting or running:
                while waiting and len(running) < processes:
                    number, job = waiting.pop(0)
                    _announce(job, number, len(jobs))
                    error_file = str(errors_in / str(number))
                    process = context.Process(target=_child, args=(job, threads, error_file))
                    process.start()
                    running[process.sentinel] = process
                    pids.append(cast(int, process.pid))
                for sentinel in wait(list(running)):
                    _take_ended(running.pop(cast(int, sentinel)), errors_in)
        finally:
            for process in running.values():
                process.terminate()
            for process in running.values():
                process.join()


def _take_ended(process: SpawnProcess, errors_in: pathlib.Path) -> None:
    """Raise what made a training end early: the oldest error, since later ones may follow it."""
    process.join()
    if process.exitcode == 0:
        return
    for path in sorted(errors_in.iterdir(), key=lambda path: path.stat().st_mtime_ns):
        kind, message = json.loads(path.read_text(encoding="utf-8"))
        raise getattr(errors, kind)(message)
    raise RunError(
        f"a training process ended with {process.exitcode} (see its log); what was finished stays:"
        " run the same command again to go on"
    )


def _child(job: Job, threads: int, error_file: str) -> None:
    """The parent passes signals on, so that the terminal's own are heard once."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(threads)
    try:
        train_and_answer(job)
    except FastSeekError as error:
        text = json.dumps([type(error).__name__, str(error)])
        pathlib.Path(error_file).write_text(text, encoding="utf-8")
        sys.exit(error.exit_code)
