"""What the embedded engine of Milvus leaves to its user: to say why it failed, and to mend what a
kill left behind.
"""

from __future__ import annotations

import errno
import logging
import pathlib

from ..errors import NO_ROOM, ArtefactError, FastSeekError, RunError
from ..io.paths import PathLike

FULL = tuple(f"[Errno {number}]" for number in NO_ROOM)  # in messages that come over the wire


class _Failures(logging.Handler):
    """What the engine logs as failed; kept for our errors, not printed."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record."""
        self.records.append(record)


_failures = _Failures()


def listen() -> None:
    """From now on keep what the engine logs as failed, and print none of it."""
    logger = logging.getLogger("milvus_lite")
    if _failures not in logger.handlers:
        logger.addHandler(_failures)
        logger.propagate = False
    _failures.records.clear()


def take_failure(module: str = "") -> BaseException | None:
    """The cause of the last failure that was logged, perhaps of one module; all are forgotten."""
    causes = [
        record.exc_info[1]
        for record in _failures.records
        if record.exc_info and record.name.endswith(module)
    ]
    _failures.records.clear()
    return causes[-1] if causes else None


def explain(uri: str, what: str, told: str, reads: bool) -> FastSeekError:
    """The error that tells why the engine failed.

    Args:
        uri: the folder of the database.
        what: what it was asked to do.
        told: what it answered.
        reads: whether it had but to read what is there.
    """
    cause = take_failure()
    reason = " ".join(str(cause or told).split())
    if type(cause).__name__ == "DataDirLockedError":
        return RunError(
            f"Milvus at {uri} is open in another process: wait until it ends, or name another uri"
        )
    if isinstance(cause, OSError) and cause.errno in NO_ROOM or any(n in reason for n in FULL):
        return RunError(
            f"Milvus at {uri} could not {what}: no space is left there: make room and run the same"
            " command again"
        )
    if isinstance(cause, OSError) and cause.errno in (errno.EEXIST, errno.ENOTDIR):
        return ArtefactError(
            f"{uri} is a file; the database of Milvus Lite is a folder: name another uri"
        )
    if isinstance(cause, PermissionError):
        return RunError(f"Milvus at {uri} could not {what}: {cause.strerror}: name another uri")
    if reads:
        return ArtefactError(
            f"Milvus at {uri} could not {what}: {reason}: the database is damaged; remove it, and"
            " the same search fills it anew"
        )
    return RunError(
        f"Milvus at {uri} could not {what}: {reason}; what was stored is kept, the same command"
        " goes on from there"
    )


def remove_indexes(uri: PathLike, collection: str) -> bool:
    """Remove the index files of a collection, which are built anew from its vectors.

    They are written in place, so a killed process may leave the half of one, with which a
    collection cannot be loaded.

    Returns:
        whether there was one.
    """
    folder = pathlib.Path(uri) / "collections" / collection / "partitions"
    files = [path for path in folder.glob("*/indexes/*") if path.is_file()]
    for path in files:
        path.unlink()
    return bool(files)
