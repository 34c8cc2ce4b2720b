"""How the threads of models behave on a CPU that is shared with others."""

from __future__ import annotations

import os
from collections.abc import MutableMapping

from ..io.processors import count_processors

# A thread of OpenMP that waits for the others spins, and so takes the processor from the one it
# waits for where there is other work. GNU's library reads the first two, LLVM's and Intel's the last.
SLEEP = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0", "KMP_BLOCKTIME": "0"}
COUNTS = ("OMP_NUM_THREADS", "OMP_THREAD_LIMIT", "MKL_NUM_THREADS")


def share_processors(
    environ: MutableMapping[str, str] | None = None, processors: int | None = None
) -> None:
    """Let the threads of this process and those it starts sleep while they wait, and be no more than
    the processors there are; to be called before torch is loaded.

    A choice of the user's own stays as it is.

    Args:
        environ: the environment; this process's when not given.
        processors: how many there are; counted when not given.
    """
    environ = os.environ if environ is None else environ
    if not set(SLEEP) & set(environ):
        environ.update(SLEEP)
    count = processors or count_processors()
    # OpenMP itself knows what a process is bound to, but not the quota of a container.
    if not set(COUNTS) & set(environ) and count < (os.cpu_count() or 1):
        environ["OMP_NUM_THREADS"] = str(count)
