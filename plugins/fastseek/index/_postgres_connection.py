"""A connection to PostgreSQL: transactions, failures as ours, and patience with a server that is
gone for a moment.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from ..errors import DataError, RunError, UsageError, shorten

PAUSES = (0.2, 0.5, 1, 2, 4, 8, 15, 30)  # seconds between tries; a server is up again in less
# Classes and codes of SQLSTATE: connections, a server that stops or starts, two writers that wait
# for each other. A connection that broke has none.
BUSY = ("08", "57P", "40001", "40P01", "53300")
Answer = TypeVar("Answer")
logger = logging.getLogger("fastseek")


class PostgresConnection:
    """A connection, opened anew when it was lost.

    Args:
        address: a URI of libpq.
        name: the same as an error tells it.

    Raises:
        UsageError: psycopg is not installed. RunError: the database does not answer.
    """

    def __init__(self, address: str, name: str) -> None:
        self._address, self.name = address, name
        self._connection = self._open()

    def close(self) -> None:
        """Close it."""
        self._connection.close()

    def run(self, query: str, values: Sequence[Any] | None = None, binary: bool = False) -> Any:
        """Do a statement; `binary` answers are read faster."""
        return self._connection.execute(query, values, binary=binary)

    def copy(self, query: str) -> Any:
        """A COPY that is written to, for a `with` block."""
        return self._connection.cursor().copy(query)

    def attempt(self, work: Callable[[bool], Answer]) -> Answer:
        """Do something that may be done twice, again while the server is gone, for a minute at most.

        Args:
            work: is given whether it was tried before; what it changes, it changes in transactions.

        Raises:
            RunError: it failed.
        """
        if self._in_transaction():
            return work(False)
        for number, pause in enumerate(PAUSES):
            try:
                self._open_again()
                return work(number > 0)
            except RunError as error:
                if not _is_busy(error.__cause__):
                    raise
                logger.warning("%s: once more in %g s", error, pause)
                time.sleep(pause)
        self._open_again()
        return work(True)

    @contextlib.contextmanager
    def transaction(self, what: str) -> Iterator[None]:
        """All of the block or nothing; failures of the database as ours.

        Raises:
            DataError: a text cannot be stored. RunError: the database failed.
        """
        import psycopg

        try:
            with self._connection.transaction():
                yield
        except UnicodeEncodeError as error:
            raise DataError(
                f"{shorten(str(error.object))!r} is no UTF-8, which PostgreSQL needs: rename the"
                " file, or mend the text; nothing was changed"
            ) from error
        except psycopg.Error as error:
            told = " ".join(str(error).split())
            raise RunError(
                f"PostgreSQL at {self.name} could not {what}: {told}; nothing was changed"
            ) from error

    def _in_transaction(self) -> bool:
        return self._connection.info.transaction_status.name in ("ACTIVE", "INTRANS", "INERROR")

    def _open_again(self) -> None:
        if self._connection.broken:
            self._connection = self._open()

    def _open(self) -> Any:
        try:
            import psycopg
        except ImportError as error:
            raise UsageError(
                "psycopg is not installed: pip install 'fastseek[postgres]'"
            ) from error
        try:
            return psycopg.connect(self._address, autocommit=True)
        except psycopg.Error as error:
            told = " ".join(str(error).split())
            raise RunError(f"PostgreSQL at {self.name} does not answer: {told}") from error


def _is_busy(cause: BaseException | None) -> bool:
    """Whether what failed may succeed a moment later."""
    import psycopg

    if not isinstance(cause, psycopg.Error):
        return False
    if cause.sqlstate is None:
        return isinstance(cause, psycopg.OperationalError)
    return cause.sqlstate.startswith(BUSY)
