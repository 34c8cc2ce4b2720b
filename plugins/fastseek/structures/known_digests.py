"""Which files were compared with their hash: remembered while the process lives, and of large files
from one command to the next.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pathlib
import time
from collections.abc import Iterable
from typing import NamedTuple

from ..errors import ArtefactError, refuse_exhausted
from ..io.atomic import atomic
from ..io.digests import sha256
from ..io.paths import PathLike

SETTLED = 2.0  # seconds after which a change of a file is sure to change its times
WORTHWHILE = 1 << 16  # bytes; a smaller file is hashed as fast as it is looked up
STALE = 64  # lines of earlier states that a record may hold beside as many as it needs


class Signature(NamedTuple):
    """What changes with a file: nobody can set the time of its last change of any kind back."""

    size: int
    device: int
    inode: int
    modified: int
    changed: int


Record = dict[str, tuple[str, Signature]]  # file name -> its hash, and when it had it

_known: dict[tuple[str, str], Signature] = {}
_records: dict[str, Record] = {}


def check_digest(
    path: PathLike, wanted: str, before: Signature | None = None, anew: bool = False
) -> Signature:
    """Compare a file with its hash, unless it is known that it has it.

    That is known while size, inode and times are those at which it was compared: by this process,
    or, of a large file, by any other of this user's, which has written it down in
    ~/.cache/fastseek/verified. A file that has just been written is not: its times would be the
    same after another change.

    Args:
        path: the file.
        wanted: its SHA-256.
        before: what this gave for the same file, to be trusted whatever its age.
        anew: whether nothing that was compared before is trusted.

    Raises:
        ArtefactError: its bytes are not those that were written, or it is gone.
        RunError: the process has too many files open.
    """
    key = os.fspath(path), wanted
    try:
        signature = _sign(os.stat(path))
        if not anew and _is_known(key, signature, before):
            return signature
        settled = _is_settled(signature)  # now: while it is hashed it may change, and settle
        same = sha256(path) == wanted
    except OSError as error:
        refuse_exhausted(error, path)
        raise ArtefactError(f"{path}: cannot be read ({error.strerror})") from error
    if not same:
        raise ArtefactError(f"{path}: the bytes are not those that were written")
    if settled:
        _known[key] = signature
        _remember(key[0], wanted, signature)
    return signature


def find_digest(path: PathLike) -> str:
    """SHA-256 of a file; one that was hashed before, and has not changed since, is not read again.

    Raises:
        OSError: it cannot be read.
    """
    signature = _sign(os.stat(path))
    folder, name = os.path.split(os.path.realpath(path))
    known = _record(folder).get(name)
    if known is not None and known[1] == signature:
        return known[0]
    settled = _is_settled(signature)  # now, and not after the hashing
    found = sha256(path)
    if settled:
        _remember(os.fspath(path), found, signature)
    return found


def record_folder() -> pathlib.Path:
    """Where it is written down, a file for every folder; anything in it may be removed at any time.

    Raises:
        RuntimeError: the user has no home.
    """
    return pathlib.Path.home() / ".cache/fastseek/verified"


def _sign(state: os.stat_result) -> Signature:
    return Signature(
        state.st_size, state.st_dev, state.st_ino, state.st_mtime_ns, state.st_ctime_ns
    )


def _is_settled(signature: Signature) -> bool:
    """Whether another change would be seen in the times."""
    return time.time() - max(signature.modified, signature.changed) / 1e9 > SETTLED


def _record(folder: str) -> Record:
    """What is written down of a folder."""
    if folder not in _records:
        _records[folder] = _read(folder)
    return _records[folder]


def _is_known(key: tuple[str, str], signature: Signature, before: Signature | None) -> bool:
    """Whether a file had its hash when its signature was this one."""
    if signature in (before, _known.get(key)):
        return True
    if signature.size < WORTHWHILE:
        return False
    folder, name = os.path.split(os.path.realpath(key[0]))
    if _record(folder).get(name) != (key[1], signature):
        return False
    _known[key] = signature
    return True


def _remember(path: str, wanted: str, signature: Signature) -> None:
    """Write down what was compared; what cannot be written is compared again another time."""
    folder, name = os.path.split(os.path.realpath(path))
    if signature.size < WORTHWHILE or "\n" in name:
        return
    _records.setdefault(folder, {})[name] = wanted, signature
    with contextlib.suppress(OSError, RuntimeError):
        file = _record_of(folder)
        file.parent.mkdir(parents=True, exist_ok=True)
        # One call of the system, so that the lines of two processes do not mix.
        with open(file, "ab", buffering=0) as lines:
            lines.write(_spell([(name, (wanted, signature))]))


def _record_of(folder: str) -> pathlib.Path:
    return record_folder() / f"{hashlib.sha256(os.fsencode(folder)).hexdigest()[:32]}.txt"


def _spell(record: Iterable[tuple[str, tuple[str, Signature]]]) -> bytes:
    lines = (
        f"{wanted} {' '.join(map(str, signature))} {name}\n" for name, (wanted, signature) in record
    )
    return b"".join(map(os.fsencode, lines))


def _read(folder: str) -> Record:
    """What was written down of a folder; a line that is not whole tells nothing."""
    found: Record = {}
    with contextlib.suppress(OSError, RuntimeError):
        lines = _record_of(folder).read_bytes().splitlines()
        for line in lines:
            with contextlib.suppress(ValueError, TypeError):
                wanted, *numbers, name = os.fsdecode(line).split(" ", 6)
                found[name] = wanted, Signature(*map(int, numbers))
        if len(lines) > 2 * len(found) + STALE:
            with atomic(_record_of(folder)) as file:
                file.write(_spell(found.items()))
    return found
