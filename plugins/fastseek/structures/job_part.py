"""JobPart: which shards of a job a process embeds, of several that know nothing of one another."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping

from ..errors import UsageError
from ..io.locks import LOCK


@dataclasses.dataclass(frozen=True)
class JobPart:
    """Part `number` of `count`: every count-th shard, from shard `number` on.

    Args:
        number: from 0.
        count: how many parts there are.

    Raises:
        UsageError: there is no such part.
    """

    number: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.number < self.count:
            raise UsageError(
                f"part {self}: parts are counted from 0, the last of {max(1, self.count)} is"
                f" {max(1, self.count) - 1}/{max(1, self.count)}"
            )

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    @classmethod
    def parse(cls, text: str) -> JobPart:
        """The part that "3/8" names.

        Raises:
            UsageError: it names none.
        """
        found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text)
        if found is None:
            raise UsageError(f"part {text!r}: expected i/n, such as 0/8 to 7/8")
        return cls(int(found[1]), int(found[2]))

    @property
    def suffix(self) -> str:
        """What the progress of the part has behind its name; "" where it is all of the job."""
        return "" if self.count == 1 else f", part {self}"

    @property
    def lock(self) -> str:
        """Name of the file that is locked while the part is embedded."""
        return LOCK if self.count == 1 else f".part-{self.number}-of-{self.count}.lock"

    def shards(self, total: int) -> range:
        """The numbers of its shards, of so many."""
        return range(self.number, total, self.count)


ALL = JobPart()


def part_of_environment(environ: Mapping[str, str]) -> JobPart | None:
    """The part that a launcher has given this process, None where none has.

    torchrun and its like set RANK and WORLD_SIZE. A job array of Slurm sets SLURM_ARRAY_TASK_ID,
    its COUNT, MIN and STEP; srun sets SLURM_PROCID and SLURM_NTASKS, and inside an array each task of
    it is divided once more. The script that sbatch runs has SLURM_PROCID without being a task of
    several: it is known by a job without a step.

    Raises:
        UsageError: what is set cannot be.
    """
    _check_pair(environ, "RANK", "WORLD_SIZE")
    _check_pair(environ, "SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT")
    if "RANK" in environ:
        return JobPart(_read(environ, "RANK"), _read(environ, "WORLD_SIZE"))
    number, count = 0, 1
    if "SLURM_ARRAY_TASK_ID" in environ:
        first = _read(environ, "SLURM_ARRAY_TASK_MIN", 0)
        step = max(1, _read(environ, "SLURM_ARRAY_TASK_STEP", 1))
        task = _read(environ, "SLURM_ARRAY_TASK_ID")
        count = _read(environ, "SLURM_ARRAY_TASK_COUNT")
        last = first + step * (count - 1)
        if count == 1 and task > 0:
            raise UsageError(
                f"SLURM_ARRAY_TASK_ID={task} is the only task of its array, which does not say of how"
                f" many parts it is one: name it, --part {task}/n, or submit --array=0 for all"
            )
        # Of an array with gaps no task knows which ones the others are.
        is_regular = last <= _read(environ, "SLURM_ARRAY_TASK_MAX", last) < last + step
        if not is_regular or task not in range(first, last + step, step):
            raise UsageError(
                f"SLURM_ARRAY_TASK_ID={task}: the {count} tasks of the array are not {first} to"
                f" {last} in steps of {step}, so parts would be missing: submit --array=0-{count - 1},"
                " or name the part: --part i/n"
            )
        number = (task - first) // step
    is_script = "SLURM_JOB_ID" in environ and "SLURM_STEP_ID" not in environ
    if "SLURM_PROCID" in environ and "SLURM_NTASKS" in environ and not is_script:
        tasks = _read(environ, "SLURM_STEP_NUM_TASKS", _read(environ, "SLURM_NTASKS"))
        number, count = number * tasks + _read(environ, "SLURM_PROCID"), count * tasks
    return JobPart(number, count) if count > 1 else None


def _check_pair(environ: Mapping[str, str], one: str, other: str) -> None:
    """One without the other would make every process do everything."""
    for given, missing in ((one, other), (other, one)):
        if given in environ and missing not in environ:
            raise UsageError(
                f"{given} is set and {missing} is not: set both, unset both, or name the part:"
                " --part i/n"
            )


def local_number(environ: Mapping[str, str]) -> int:
    """Which of the processes of this machine this is, 0 where no launcher says."""
    name = "LOCAL_RANK" if "LOCAL_RANK" in environ else "SLURM_LOCALID"
    return _read(environ, name, 0)


def _read(environ: Mapping[str, str], name: str, default: int | None = None) -> int:
    text = environ.get(name, "" if default is None else str(default))
    if not re.fullmatch(r"\d{1,9}", text):
        raise UsageError(
            f"{name}={text}: expected a number; unset it, or name the part: --part i/n"
        )
    return int(text)
