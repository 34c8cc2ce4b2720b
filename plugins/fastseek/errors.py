"""The ways a run can end, each with its exit code."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import re
import signal
import sys
import threading
import unicodedata
from collections.abc import Callable, Iterator
from types import FrameType

NO_ROOM = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
)  # of an OSError: the disk, or one's share of it, is full
STEERING = ("Cc", "Cf", "Zl", "Zp")  # kinds of letters: controls, marks of direction, line ends
JOINERS = "\u200c\u200d"  # of the letters of Persian, and of emoji
READER_LEFT = 141  # 128 and SIGPIPE


NO_FILES = (errno.EMFILE, errno.ENFILE)  # the process, or the machine, has too many files open
MANY_FILES = (
    "{}: too many files are open: raise the limit (ulimit -n 4096) and run the same command again"
)


class FastSeekError(Exception):
    """Something the user can mend; the message says what was expected and what to do."""

    exit_code = 4


class UsageError(FastSeekError):
    """A wrong option, recipe or call string (exit code 2)."""

    exit_code = 2


class DataError(FastSeekError):
    """Input data that cannot be used: names the file and the row (exit code 3)."""

    exit_code = 3


class RunError(FastSeekError):
    """The run failed; what was saved before is intact (exit code 4)."""

    exit_code = 4


class StoppedError(RunError):
    """The run was asked to stop, and all of it is saved: started again, it goes on (exit code 75).

    75 is EX_TEMPFAIL of sysexits.h; schedulers can tell it from a failure.
    """

    exit_code = 75


class ArtefactError(FastSeekError):
    """Two artefacts do not fit, or one is damaged (exit code 5)."""

    exit_code = 5


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out: Python's and numpy's, or torch's of a CPU or a
    GPU, which is known by its name and text because torch need not be installed.
    """
    if isinstance(error, MemoryError):
        return True
    if not isinstance(error, RuntimeError):
        return False
    text = str(error).lower()
    return type(error).__name__ == "OutOfMemoryError" or any(
        sign in text for sign in ("can't allocate memory", "not enough memory", "out of memory")
    )


def refuse_exhausted(error: BaseException, what: object) -> None:
    """Raise where an error means that the system has no more files or maps to give: what was to be
    opened is not to blame, and must not be called damaged.

    Args:
        error: any.
        what: the file that was to be opened.

    Raises:
        RunError: it does; says what to do.
    """
    number = error.errno if isinstance(error, OSError) else None
    if number in NO_FILES:
        raise RunError(MANY_FILES.format(what)) from error
    if number == errno.ENOMEM:
        raise RunError(
            f"{what}: no memory is left to map it: close other programs, or raise vm.max_map_count,"
            " and run the same command again"
        ) from error


def exit_with(main: Callable[[], object]) -> None:
    """Run a tool's main and leave with the exit code its error carries, 0 without one.

    A file name that is no UTF-8 is printed as the bytes it has on disk. An OSError of no kind of
    its own (a full or failing disk) ends in a line; what the program could have known, such as a
    missing file, is a mistake of ours and keeps its traceback. Where the reader of our output has
    left, as `head` does, nothing is said, and the exit code is 141, as the shell gives it to others.
    SIGTERM ends the work in a line, too; a training that hears it itself saves first.

    Args:
        main: takes nothing; what it returns is ignored.

    Raises:
        SystemExit: always.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="surrogateescape")
    try:
        try:
            with _raise_terminated():
                main()
        except SystemExit:  # help was asked for, or an option is wrong
            sys.stdout.flush()
            raise
        sys.stdout.flush()
    except BrokenPipeError:
        # A socket of the work can break too; that is no wish of the reader's.
        if not _has_reader_left():
            raise
        sys.exit(READER_LEFT)
    except FastSeekError as error:
        sys.stderr.write(f"error: {escape_controls(hide_secrets(str(error)), keep=chr(10))}\n")
        sys.exit(error.exit_code)
    except OSError as error:
        if type(error) is not OSError:
            raise
        sys.stderr.write(f"error: {_describe(error)}\n")
        sys.exit(RunError.exit_code)
    except KeyboardInterrupt as error:
        sys.stderr.write(f"interrupted: {_how_to_go_on(error)}\n")
        sys.exit(RunError.exit_code)
    except _Terminated as error:
        # What the frames hold, such as loader workers, ends now and not as late as the interpreter.
        import traceback  # every command starts here, and few end here

        traceback.clear_frames(error.__traceback__)
        sys.stderr.write(f"error: stopped by SIGTERM: {_how_to_go_on(error)}\n")
        sys.exit(StoppedError.exit_code)
    sys.exit(0)


class _Terminated(BaseException):
    """SIGTERM, as KeyboardInterrupt is SIGINT: no handler of errors takes it for one."""


@contextlib.contextmanager
def advise_stopped(advice: Callable[[], str]) -> Iterator[None]:
    """Where work that is stopped in the block goes on otherwise than by the same command.

    Args:
        advice: asked when it is stopped; returns what to do.
    """
    try:
        yield
    except (KeyboardInterrupt, _Terminated) as error:
        error.add_note(advice())
        raise


def _how_to_go_on(error: BaseException) -> str:
    return "; ".join(getattr(error, "__notes__", [])) or "run the same command again to go on"


@contextlib.contextmanager
def _raise_terminated() -> Iterator[None]:
    """Let SIGTERM raise while the block runs, unless somebody listens to it already."""
    mine = os.getpid()

    def stop(number: int, frame: FrameType | None) -> None:
        if os.getpid() == mine:
            raise _Terminated
        # A process that was forked from this one ends as it would have without us.
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    main_thread = threading.current_thread() is threading.main_thread()
    if not main_thread or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _has_reader_left() -> bool:
    """Whether nobody reads our output; then nothing more is written, at exit either."""
    import select  # not needed else, and every command starts here

    try:
        number = sys.stdout.fileno()
    except (OSError, ValueError):
        return False  # it is no file of the system
    poll = select.poll()
    poll.register(number, 0)
    left = bool(poll.poll(0))
    if left:
        os.dup2(os.open(os.devnull, os.O_WRONLY), number)
    return left


def _describe(error: OSError) -> str:
    if error.errno in NO_ROOM:
        return (
            f"{error.filename or 'output'}: {error.strerror}: make room and run the same command"
            " again"
        )
    if error.errno in NO_FILES:
        return MANY_FILES.format(error.filename or "output")
    named = f"{error.filename}: " if error.filename else ""
    return " ".join(
        f"{named}{error.strerror or error}: mend that and run the same command again".split()
    )


def shorten_value(value: object) -> str:
    """A value as an error tells it, cut where it is long."""
    return shorten(repr(value))


def shorten(text: str, most: int = 200) -> str:
    """A text, cut where it is long."""
    return text if len(text) <= most else f"{text[:most]}…"


def hide_secrets(text: str) -> str:
    """A text whose addresses tell no password, and those of web servers neither user nor query, in
    which keys stand. What comes before the @ of abfs:// is a container, and stays.
    """
    if "://" not in text:
        return text
    text = re.sub(r"(://[^/@:\s]*):[^/@\s]*@", r"\1:…@", text)
    text = re.sub(r"(?i)\b(https?://)[^/@\s]*@", r"\1…@", text)
    # What closes a sentence or a bracket behind an address is none of it.
    query = r"(?i)\b(https?://[^\s?#]*)\?[^\s#]*?(?=[:,;.)\]'\"]*(?:[\s#]|$))"
    return re.sub(query, r"\1?…", text)


def escape_controls(text: str, keep: str = "") -> str:
    """A text for a terminal: what would steer it, or turn the letters around, is spelled out.

    Args:
        text: such as the name of a file.
        keep: letters that stay, such as the line feeds between lines.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(one if one in keep or not _steers(one) else _spell(one) for one in text)


def _steers(letter: str) -> bool:
    return unicodedata.category(letter) in STEERING and letter not in JOINERS


def _spell(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")
