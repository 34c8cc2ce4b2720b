"""Starting the processes of a run: one, several on this machine, several machines, or those
torchrun has started.
"""

from __future__ import annotations

import json
import logging
import os
import pathlib
import signal
import socket
import sys
import tempfile
from collections.abc import Callable
from datetime import timedelta
from types import FrameType
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from .. import errors
from ..errors import FastSeekError, RunError, StoppedError, UsageError

from fastreid.utils import comm

logger = logging.getLogger("fastreid.fastseek")
WAIT = timedelta(minutes=30)  # for the slowest process, which may be evaluating
START_AGAIN = "run the same command again, a single recipe with --resume, to go on"
GRACE = 20.0  # seconds a process has to end when another one has failed


def launch(
    main: Callable[..., Any],
    num_gpus: int = 1,
    num_machines: int = 1,
    machine_rank: int = 0,
    dist_url: str = "auto",
    args: tuple = (),
    device: str = "cuda",
) -> Any:
    """Run `main(*args)` in every process of a run.

    Args:
        main: importable by name, since new processes import it.
        num_gpus: processes on this machine; also without GPUs, then they share the CPU.
        num_machines, machine_rank: how many machines, and which this is.
        dist_url: where rank 0 listens; "auto" takes a free port and is for one machine.
        args: what main is called with.
        device: what the model will run on.

    Returns:
        what main returns when it runs in this process, else None.

    Raises:
        UsageError: numbers that cannot be.
        FastSeekError: the error of the process that failed first; the others are ended.
    """
    if num_gpus < 1 or num_machines < 1 or not 0 <= machine_rank < num_machines:
        raise UsageError(
            f"--num-gpus {num_gpus} --num-machines {num_machines} --machine-rank {machine_rank}:"
            " expected at least one process and a machine rank below the number of machines"
        )
    if "RANK" in os.environ and "WORLD_SIZE" in os.environ:
        return _under_torchrun(main, args, device)
    if num_gpus * num_machines == 1:
        return main(*args)
    if dist_url == "auto" and num_machines > 1:
        raise UsageError(
            "--dist-url auto is for one machine: give tcp://<address of machine 0>:<port>"
        )
    url = f"tcp://127.0.0.1:{_free_port()}" if dist_url == "auto" else dist_url
    _spawn(
        num_gpus, (main, num_gpus, num_machines, machine_rank, url, args, backend(num_gpus, device))
    )
    return None


def backend(processes: int, device: str) -> str:
    """nccl when every process on this machine has a GPU of its own and is to use it, else gloo."""
    own = (
        device.startswith("cuda")
        and torch.cuda.is_available()
        and torch.cuda.device_count() >= processes
    )
    return "nccl" if own else "gloo"


def _under_torchrun(main: Callable[..., Any], args: tuple, device: str) -> Any:
    world_size = int(os.environ["WORLD_SIZE"])
    if world_size == 1:
        return main(*args)
    local, here = int(os.environ["LOCAL_RANK"]), int(os.environ["LOCAL_WORLD_SIZE"])
    _join("env://", int(os.environ["RANK"]), world_size, local, here, backend(here, device))
    result = main(*args)
    _leave()
    return result


def _spawn(here: int, work: tuple) -> None:
    with tempfile.TemporaryDirectory(prefix="fastseek-") as told:
        context = mp.start_processes(
            _process, (*work, told), nprocs=here, join=False, start_method="spawn"
        )
        forwarding = Forwarding(context.pids())
        with forwarding:
            try:
                while not context.join(grace_period=GRACE):
                    pass
            except (mp.ProcessExitedException, mp.ProcessRaisedException) as error:
                _raise_told(pathlib.Path(told), error, forwarding.heard)
                raise


def _raise_told(folder: pathlib.Path, error: Exception, heard: int) -> None:
    """Raise what the first process to fail has told; a process that was killed has told nothing.

    Args:
        folder: of the errors.
        error: what torch says of the process.
        heard: the signal this process was sent, 0 for none.
    """
    for path in sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime_ns):
        kind, message = json.loads(path.read_text(encoding="utf-8"))
        raise getattr(errors, kind)(message) from error
    if heard:
        # Before the training listens to it, SIGTERM ends a process at once.
        name = signal.Signals(heard).name
        raise StoppedError(f"stopped by {name}: {START_AGAIN}") from error
    if isinstance(error, mp.ProcessExitedException):
        raise RunError(
            f"process {error.error_index} of the run died ({error.signal_name or error.exit_code});"
            f" what was saved before is intact: {START_AGAIN}"
        ) from error


class Forwarding:
    """While it is entered, SIGTERM and SIGINT of this process reach the given ones as SIGTERM: they
    save and end.

    The processes ignore SIGINT, because a terminal sends Ctrl-C to them as well and twice means at
    once.

    Args:
        pids: the processes.
    """

    def __init__(self, pids: list[int]) -> None:
        self._pids = pids
        self._before: dict[int, Any] = {}
        self.heard = 0  # the last signal

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        self.heard = number
        for pid in self._pids:
            try:
                os.kill(pid, signal.SIGTERM)
            except ProcessLookupError:
                continue

    def __enter__(self) -> None:
        self._before = {
            number: signal.signal(number, self._pass_on)
            for number in (signal.SIGTERM, signal.SIGINT)
        }

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


def _process(
    local: int,
    main: Callable[..., Any],
    here: int,
    machines: int,
    machine: int,
    url: str,
    args: tuple,
    kind: str,
    told: str,
) -> None:
    """One spawned process; its error, if it is one of ours, reaches the parent in words."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if kind == "gloo" and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, torch.get_num_threads() // here))
    try:
        _join(url, machine * here + local, machines * here, local, here, kind)
        main(*args)
        _leave()
    except FastSeekError as error:
        part = pathlib.Path(told) / str(local)
        part.write_text(json.dumps([type(error).__name__, str(error)]), encoding="utf-8")
        sys.exit(error.exit_code)


def _join(url: str, rank: int, world_size: int, local: int, here: int, kind: str) -> None:
    """Enter the process group and tell fast-reid which processes share this machine."""
    if kind == "nccl":
        torch.cuda.set_device(local)
    try:
        dist.init_process_group(
            kind, init_method=url, rank=rank, world_size=world_size, timeout=WAIT
        )
    except (RuntimeError, ValueError) as error:
        raise RunError(
            f"process {rank} of {world_size} cannot reach the others at {url}: {error}"
        ) from error
    for machine in range(world_size // here):
        group = dist.new_group(list(range(machine * here, (machine + 1) * here)))
        if machine == rank // here:
            comm._LOCAL_PROCESS_GROUP = group
    comm.synchronize()


def _leave() -> None:
    comm._LOCAL_PROCESS_GROUP = None
    dist.destroy_process_group()


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]
