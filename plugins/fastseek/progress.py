"""Progress of long work: a bar with an ETA on a terminal, plain lines in a pipe."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

from .errors import escape_controls, hide_secrets

Thing = TypeVar("Thing")


def progress(
    things: Iterable[Thing],
    what: str,
    total: int | None = None,
    every: float = 15.0,
    unit: str = "",
    count: Callable[[Thing], int] | None = None,
) -> Iterator[Thing]:
    """Yield the things while telling on stderr how far the work is and when it will be done.

    Args:
        things: what to go through.
        what: a few words shown before the figures.
        total: how many there are; `len(things)` when not given and known.
        every: seconds between two lines when stderr is not a terminal.
        unit: what is counted, such as "batches", where `what` does not say it.
        count: how many a thing counts for, such as the images of a batch; 1 when not given.
    """
    what = escape_controls(hide_secrets(what))
    if total is None and hasattr(things, "__len__"):
        total = len(things)  # type: ignore[arg-type]
    if sys.stderr.isatty():
        bar_unit = f" {unit}" if unit else "it"
        with tqdm(desc=what, total=total, dynamic_ncols=True, unit=bar_unit) as bar:
            for thing in things:
                yield thing
                bar.update(count(thing) if count else 1)
        return
    yield from _lines(things, what, total, every, f" {unit}" if unit else "", count)


def tell(line: str) -> None:
    """Write one line to stderr, such as how long the work to come will take."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def _lines(
    things: Iterable[Thing],
    what: str,
    total: int | None,
    every: float,
    unit: str,
    count: Callable[[Thing], int] | None,
) -> Iterator[Thing]:
    start = told = time.monotonic()
    done = 0
    for thing in things:
        now = time.monotonic()
        if done and now - told >= every:
            told = now
            sys.stderr.write(_line(what, done, total, now - start, unit))
            sys.stderr.flush()
        yield thing
        done += count(thing) if count else 1


def _line(what: str, done: int, total: int | None, seconds: float, unit: str) -> str:
    rate = done / seconds
    if total is None:
        return f"{what}: {done}{unit} done, {rate:.1f}/s\n"
    return f"{what}: {done}/{total}{unit}, {rate:.1f}/s, {(total - done) / rate:.0f} s left\n"
