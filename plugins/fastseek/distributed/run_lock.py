"""One run a folder: two would write over each other's checkpoints."""

from __future__ import annotations

import contextlib
import logging
import os
import pathlib
import time
from collections.abc import Iterator

from ..errors import RunError, UsageError
from ..io.locks import hold_folder
from ..io.paths import PathLike
from . import process_group

from fastreid.utils import comm

logger = logging.getLogger("fastreid.fastseek")
PAUSE = 1.0  # seconds between two looks at a folder that another process holds
_held: dict[pathlib.Path, int] = {}  # which process of a family of forks holds it


@contextlib.contextmanager
def wait_for_run_folder(output: PathLike) -> Iterator[None]:
    """Hold a folder as `hold_run_folder` does, after waiting for whoever holds it.

    For processes that share nothing but the folder: what one has made the next finds made.

    Raises:
        UsageError: the folder cannot be written.
    """
    with contextlib.ExitStack() as stack:
        told = False
        while True:
            try:
                stack.enter_context(hold_run_folder(output))
                break
            except RunError as error:
                if not told:
                    logger.info("waiting: %s", error)
                told = True
                time.sleep(PAUSE)
        yield


@contextlib.contextmanager
def hold_run_folder(output: PathLike) -> Iterator[None]:
    """Hold OUTPUT_DIR for this run, from rank 0; blocks inside one another hold it until the
    outermost ends.

    Raises:
        RunError: another run holds it; names its process and host, in every process of this run.
        UsageError: the folder cannot be written.
    """
    with contextlib.ExitStack() as stack:
        why = _take(stack, output) if comm.is_main_process() and str(output) else None
        told = None if why is None else (type(why).__name__, str(why))
        error = process_group.share(told)
        if error is not None:
            kind = RunError if error[0] == "RunError" else UsageError
            raise kind(error[1]) from why
        yield


def _take(stack: contextlib.ExitStack, output: PathLike) -> Exception | None:
    """Take the lock, or return why it cannot be had."""
    folder = pathlib.Path(output).resolve()
    if _held.get(folder) == os.getpid():
        return None
    try:
        stack.enter_context(hold_folder(folder))
    except (RunError, UsageError) as error:
        return error
    except OSError as error:
        return UsageError(f"OUTPUT_DIR {output} cannot be written: {error}")
    _held[folder] = os.getpid()
    stack.callback(_held.pop, folder, None)
    return None
