"""How many processors this process may use."""

from __future__ import annotations

import contextlib
import math
import os
import pathlib
from collections.abc import Iterator

CGROUPS = pathlib.Path("sys/fs/cgroup")
OWN_GROUPS = pathlib.Path("proc/self/cgroup")
SYSTEM = pathlib.Path("/")


def count_processors(system: pathlib.Path = SYSTEM) -> int:
    """The processors of this process: those it is bound to, and no more than its control groups
    give it, as they do in containers; at least 1.

    Args:
        system: where the files of the system lie.
    """
    affinity = getattr(os, "sched_getaffinity", None)
    bound = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(1, min([bound, *(math.ceil(share) for share in _shares(system))]))


def _shares(system: pathlib.Path) -> Iterator[float]:
    """Processors' worth of time that each control group above this process gives."""
    for folder in _own_folders(system):
        with contextlib.suppress(OSError, ValueError, ZeroDivisionError):
            quota, period = (folder / "cpu.max").read_text().split()
            yield int(quota) / int(period)  # "max" is no number
        with contextlib.suppress(OSError, ValueError, ZeroDivisionError):
            quota = (folder / "cpu.cfs_quota_us").read_text()
            period = (folder / "cpu.cfs_period_us").read_text()
            if int(quota) > 0:
                yield int(quota) / int(period)


def _own_folders(system: pathlib.Path) -> Iterator[pathlib.Path]:
    """The folders of the control groups of this process, and those above them, in both versions."""
    yield system / CGROUPS
    yield system / CGROUPS / "cpu"
    try:
        lines = (system / OWN_GROUPS).read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        home = system / CGROUPS / controllers
        own = home / path.strip("/")
        yield from (one for one in (own, *own.parents) if one.is_relative_to(home))
