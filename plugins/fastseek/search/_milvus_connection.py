"""A connection to Milvus, embedded in a file or on a server: by the URI alone, and with patience."""

from __future__ import annotations

import contextlib
import functools
import logging
import pathlib
import re
import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from ..errors import RunError, UsageError
from ..io.paths import make_folder
from . import _milvus_lite
from ._milvus_types import Version

SCHEME = "milvus://"
CONSISTENCY = {name.lower(): name for name in ("Strong", "Bounded", "Session", "Eventually")}
PAUSES = (0.2, 0.5, 1, 2, 4, 8, 15, 30)  # seconds between tries; a server is up again in less
# Codes of servers that start, move something, or have too much to do; and what older ones say.
BUSY = frozenset({1, 2, 4, 8, 101, 104, 106, 500, 501, 502, 503, 600, 601, 602, 901, 902, 903, 904})
BUSY_TEXT = re.compile(
    r"not (healthy|ready|loaded)|unavailable|no available|offline|deadline exceeded|rate limit"
    r"|connection (refused|reset)|timestamp lag|channel not|transport|socket closed",
    re.IGNORECASE,
)
logger = logging.getLogger("fastseek")


class Address(NamedTuple):
    """A URI in its parts: for pymilvus, the consistency of reading, and settings of searching."""

    uri: str
    consistency: str
    settings: Mapping[str, Any]

    @property
    def embedded(self) -> bool:
        """Whether it is a file."""
        return "://" not in self.uri


def read_address(uri: str) -> Address:
    """Read a URI.

    Args:
        uri: a path that ends in ".db", or "http://host:19530" or "milvus://host:19530" of a server;
            behind "?" `consistency=bounded` and settings of the index type, such as `nprobe=64`.

    Raises:
        UsageError: it is no such thing.
    """
    address, _, text = uri.partition("?")
    if address.startswith(SCHEME):
        address = f"http://{address[len(SCHEME) :]}"
    if "://" not in address and not address.endswith(".db"):
        raise UsageError(
            "uri must be a path that ends in .db, or http://host:port of a cluster, got"
            f" {address!r}"
        )
    told = dict(parse_qsl(text, keep_blank_values=True))
    asked = told.pop("consistency", "strong")
    if asked.lower() not in CONSISTENCY:
        raise UsageError(f"consistency must be one of {', '.join(CONSISTENCY)}, got {asked!r}")
    return Address(
        address,
        CONSISTENCY[asked.lower()],
        {key: _read_number(key, value) for key, value in told.items()},
    )


def _read_number(key: str, text: str) -> int | float:
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    raise UsageError(f"{key} in a URI of Milvus must be a number, got {text!r}")


class MilvusConnection:
    """A client of Milvus whose failures are ours, and whose requests are made again while a server
    is busy, starts, or is gone for a moment: for a minute at most.

    Args:
        uri: see `read_address`.
        token: "user:password" or a key, for a server that asks for it.

    Raises:
        UsageError: pymilvus is not installed, the URI is no such thing, or its folder cannot be
            made.
        RunError: the database does not answer, or another process holds the file.
        ArtefactError: an embedded database is damaged, or is none.
    """

    def __init__(self, uri: str, token: str = "") -> None:
        self.address = read_address(uri)
        self.uri, self.embedded = self.address.uri, self.address.embedded
        self.pymilvus = _import_pymilvus(self.embedded)
        if self.embedded:
            make_folder(pathlib.Path(self.uri).absolute().parent)
        with self.describe("open the database", reads=True):
            self.client = self.pymilvus.MilvusClient(uri=self.uri, token=token)

    @functools.cached_property
    def release(self) -> str:
        """The version of the database as it tells it, such as "v2.3.5"."""
        with self.describe("tell its version", reads=True):
            return str(self.client.get_server_version())

    @property
    def version(self) -> Version:
        """The version of a server, such as (2, 3, 5)."""
        return tuple(int(part) for part in re.findall(r"\d+", self.release)[:3])

    def close(self) -> None:
        """Close the connection, and an embedded database with it.

        Raises:
            RunError: an embedded database could not build an index; it does that in the background.
        """
        self.client.close()
        if not self.embedded:
            return
        from milvus_lite.server_manager import server_manager_instance

        server_manager_instance.release_server(self.uri)

    def check_background(self) -> None:
        """Check that no index failed, after `close`: the embedded engine builds them in the
        background, and ends that when it is closed.

        Raises:
            RunError: one did.
        """
        cause = _milvus_lite.take_failure("engine.collection") if self.embedded else None
        if cause is not None:
            raise RunError(
                f"Milvus at {self.uri} could not build its index ({cause}): take another index and"
                " collection"
            ) from cause

    def call(self, what: str, verb: str, *args: Any, reads: bool = False, **kwargs: Any) -> Any:
        """Ask for something, again and again while the server is only busy.

        All that is asked here may be done twice: vectors are stored and deleted by their ids.

        Args:
            what: it does, for errors.
            verb: a method of `MilvusClient`; args, kwargs: what it is given.
            reads: whether it has but to read what is there.

        Raises:
            RunError, ArtefactError: it failed.
        """
        from pymilvus.exceptions import MilvusException

        with self.describe(what, reads):
            for pause in () if self.embedded else PAUSES:
                try:
                    return getattr(self.client, verb)(*args, **kwargs, retry_times=1)
                except MilvusException as error:
                    if not is_busy(error):
                        raise
                    self._wait(what, error, pause)
            return getattr(self.client, verb)(*args, **kwargs, retry_times=1)

    @contextlib.contextmanager
    def describe(self, what: str, reads: bool = False) -> Iterator[None]:
        """A block whose failures of the database are told as ours, see `call`."""
        from pymilvus.exceptions import MilvusException

        try:
            yield
        except MilvusException as error:
            if self.embedded:
                raise _milvus_lite.explain(self.uri, what, error.message, reads) from error
            raise RunError(
                f"Milvus at {hide_user(self.uri)} could not {what}: {error.message}; what was"
                " stored is kept, the same command goes on from there"
            ) from error

    def _wait(self, what: str, error: Any, pause: float) -> None:
        told = " ".join(str(error.message).split())[:200]
        where = hide_user(self.uri)
        logger.warning(
            "Milvus at %s could not %s yet (%s): once more in %g s", where, what, told, pause
        )
        time.sleep(pause)


def is_busy(error: Any) -> bool:
    """Whether what failed may succeed a moment later."""
    code = getattr(error, "code", None)
    return code in BUSY or bool(BUSY_TEXT.search(f"{code} {error.message}"))


def hide_user(uri: str) -> str:
    """A URI of a server without user and password."""
    return uri.rsplit("@", 1)[-1]


def _import_pymilvus(embedded: bool) -> Any:
    try:
        import pymilvus

        if embedded:
            import milvus_lite  # noqa: F401
    except ImportError as error:
        raise UsageError(
            f"{error.name} is not installed: pip install pymilvus milvus-lite, or use exact(…)"
        ) from error
    for name in ("pymilvus", "grpc._server") if embedded else ("pymilvus",):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # our errors tell what these would
    if embedded:
        _milvus_lite.listen()
    return pymilvus
