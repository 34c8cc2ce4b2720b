"""Images that could not be used: one dict each, and the file that names them."""

from __future__ import annotations

import csv
import io
import logging
import os
import pathlib
from collections.abc import Sequence
from typing import IO, Any

from ..errors import DataError, escape_controls
from ..io.csv_rows import format_rows, guard_row, unguard_cell
from ..io.digests import sha256
from ..io.locks import wait_for_lock
from ..io.paths import PathLike, tell_full_disk
from .images import BadImage

logger = logging.getLogger(__name__)

COLUMNS = ("path", "row", "phase", "code", "detail", "sha256", "bytes")
_HASH_LIMIT = 2**30
NAMED = 5  # images named in one sentence

Reject = dict[str, Any]


def reject(path: str, row: int, phase: str, error: BadImage) -> Reject:
    """What is told of one bad image; hash and size are "" and 0 where there is no readable file."""
    digest, size = "", 0
    try:
        if os.path.isfile(path):
            size = os.path.getsize(path)
            digest = sha256(path) if size <= _HASH_LIMIT else ""
    except OSError:
        pass  # the code already says that the file cannot be read
    return {
        "path": path,
        "row": row,
        "phase": phase,
        "code": error.code,
        "detail": error.detail,
        "sha256": digest,
        "bytes": size,
    }


def describe_rejects(rejects: Sequence[Reject]) -> str:
    """Such as "2 images could not be read: a.jpg, b.jpg"."""
    names = [os.path.basename(one["path"]) for one in rejects[:NAMED]]
    more = ", …" if len(rejects) > NAMED else ""
    count = "1 image" if len(rejects) == 1 else f"{len(rejects):,} images"
    return f"{count} could not be read: {', '.join(map(escape_controls, names))}{more}"


def append(file: PathLike, rejects: Sequence[Reject]) -> None:
    """Add the rejects that the file does not name yet, as whole lines under a lock; many processes
    may do so at once.

    Args:
        file: a CSV with the columns `COLUMNS`; begun with its header when missing.
        rejects: what `reject` gave.
    """
    pathlib.Path(file).parent.mkdir(parents=True, exist_ok=True)
    with (
        tell_full_disk(file),
        open(file, "a+", encoding="utf-8", errors="surrogateescape", newline="") as table,
    ):
        wait_for_lock(table)
        whole = _drop_half_row(table)
        known = {
            (unguard_cell(row.get("path") or ""), row.get("phase"))
            for row in csv.DictReader(io.StringIO(whole, newline=""))
        }
        rows: list[Sequence[Any]] = [] if whole else [COLUMNS]
        for row in rejects:
            if (row["path"], row["phase"]) not in known:
                known.add((row["path"], row["phase"]))
                rows.append(guard_row(row[column] for column in COLUMNS))
        table.write("".join(format_rows(rows)))
        table.flush()


def _drop_half_row(table: IO[str]) -> str:
    """Take away the half row that a killed writer left, or a full disk, and give the rest."""
    table.seek(0)
    text = table.read()
    end = place = quotes = 0
    for line in io.StringIO(text, newline="\n"):
        place, quotes = place + len(line), quotes + line.count('"')
        # With an odd number of quotes it ends inside of a cell.
        if line.endswith("\n") and quotes % 2 == 0:
            end = place
    if end < len(text):
        table.truncate(len(text[:end].encode("utf-8", "surrogateescape")))
        table.seek(0, os.SEEK_END)
    return text[:end]


class RejectLog:
    """Names and counts each bad image of a run once, and stops the run when there are too many.

    Args:
        file: the CSV that gets them.
        budget: how many bad images are borne.
        fail: stop at the first.
    """

    def __init__(self, file: PathLike, budget: int, fail: bool = False) -> None:
        self.file, self.budget, self.fail = file, budget, fail
        self.rejects: list[Reject] = []
        self._paths: set[str] = set()

    def add(self, rejects: Sequence[Reject]) -> None:
        """Take what one batch met.

        Raises:
            DataError: the first bad image with `fail`, or more than the budget.
        """
        new = [row for row in rejects if row["path"] not in self._paths]
        if not new:
            return
        self._paths.update(row["path"] for row in new)
        self.rejects.extend(new)
        append(self.file, new)
        for row in new:
            logger.warning(
                "%s cannot be used (%s: %s); see %s",
                row["path"],
                row["code"],
                row["detail"],
                self.file,
            )
        if self.fail:
            raise DataError(
                f"{new[0]['path']}: {new[0]['code']}: {new[0]['detail']}; mend or remove it, or set"
                " SEEK.ON_BAD skip"
            )
        if len(self.rejects) > self.budget:
            raise DataError(
                f"{len(self.rejects)} images cannot be used, more than the {self.budget} allowed: "
                f"see {self.file}; mend or remove them, or raise SEEK.MAX_BAD"
            )
