"""The graph of pgvector over a table: found, built and dropped."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ._postgres_engines import HNSW, read_settings, spell_operators

BUILD_MEMORY = "256MB"  # a graph that is larger is built on the disk, slowly
Run = Callable[[str], Any]


def find_graphs(run: Run) -> list[str]:
    """The graphs that are there.

    Args:
        run: does a statement, in which {table} stands for the table.
    """
    query = (
        "SELECT indexrelid::regclass::text FROM pg_index JOIN pg_class ON oid = indexrelid"
        " WHERE indrelid = '{table}'::regclass"
        " AND relam = (SELECT oid FROM pg_am WHERE amname = 'hnsw')"
    )
    return [row[0] for row in run(query).fetchall()]


def build_graph(run: Run, about: Mapping[str, Any]) -> None:
    """Build the graph, where the engine has one and it is not there.

    Args:
        run: as for `find_graphs`.
        about: what the index says of itself.
    """
    engine, dtype = read_settings(about)
    if engine.name == HNSW and not find_graphs(run):
        _, operators = spell_operators(about["metric"], dtype)
        run(f"SET LOCAL maintenance_work_mem = '{BUILD_MEMORY}'")
        run(f"CREATE INDEX ON {{table}} USING hnsw (vector {operators}){engine.build}")


def drop_graphs(run: Run) -> None:
    """Drop what graphs there are."""
    for name in find_graphs(run):
        run(f"DROP INDEX {name}")
