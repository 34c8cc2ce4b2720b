"""What a table of PostgreSQL is searched by: all of it, or a graph of pgvector with its settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ..errors import UsageError
from ..registry import parse, suggest_names, unparse

FLAT, HNSW = "flat", "hnsw"
ENGINES = (FLAT, HNSW)
# The least and the most of each setting, as pgvector has them.
SETTINGS = {"m": (2, 100), "ef_construction": (4, 1000), "ef": (1, 1000)}
TYPES = {"float32": "vector", "float16": "halfvec"}  # of the numbers, and of pgvector
HNSW_DIM = {"float32": 2000, "float16": 4000}  # numbers a vector may have in a graph
EF = 100  # images looked at, at least, where it is not named


class PgEngine(NamedTuple):
    """An engine with the settings that were named."""

    name: str
    settings: Mapping[str, int]

    def __str__(self) -> str:
        return unparse(self.name, (), self.settings) if self.settings else self.name

    @property
    def build(self) -> str:
        """What a graph is built with, as SQL."""
        told = [f"{key} = {value}" for key, value in self.settings.items() if key != "ef"]
        return f" WITH ({', '.join(told)})" if told else ""

    def find_width(self, wanted: int) -> int:
        """How many images a search looks at to find some number of them."""
        return min(1000, max(self.settings.get("ef", EF), wanted))


def read_engine(call: str) -> PgEngine:
    """Read an engine with its settings.

    Args:
        call: "flat", or "hnsw(m=16, ef_construction=64, ef=100)".

    Raises:
        UsageError: there is no such engine, it has no such setting, or the value is none for it.
    """
    name, args, given = parse(call)
    if name not in ENGINES:
        raise UsageError(
            f"engine in PostgreSQL must be one of {', '.join(ENGINES)}, got"
            f" {name!r}{suggest_names(name, list(ENGINES))}"
        )
    if args:
        raise UsageError(f"{call}: name its settings, such as m=16")
    for key, value in given.items():
        if name == FLAT or key not in SETTINGS:
            has = f"; it has {', '.join(SETTINGS)}" if name == HNSW else ", and needs none"
            raise UsageError(f"{name} has no setting {key!r}{has}")
        low, high = SETTINGS[key]
        if type(value) is not int or not low <= value <= high:
            raise UsageError(
                f"{name}: {key} must be a whole number of {low} to {high}, got {value!r}"
            )
    if given.get("ef_construction", 64) < 2 * given.get("m", 16):
        raise UsageError(f"{call}: ef_construction must be twice m or more")
    return PgEngine(name, given)


def check_table(engine: PgEngine, dim: int, dtype: str) -> None:
    """Check that vectors can be stored, and be in a graph.

    Raises:
        UsageError: they cannot.
    """
    if dtype not in TYPES:
        raise UsageError(f"dtype in PostgreSQL must be one of {', '.join(TYPES)}, got {dtype!r}")
    most = HNSW_DIM[dtype]
    if engine.name == HNSW and dim > most:
        more = ", or --dtype float16" if dtype == "float32" and dim <= HNSW_DIM["float16"] else ""
        raise UsageError(f"hnsw takes {most} numbers of {dtype} at most, got {dim}: use flat{more}")


def spell_operators(metric: str, dtype: str) -> tuple[str, str]:
    """The operator of a distance, and the class of operators of a graph, in pgvector."""
    kind = TYPES[dtype]
    return ("<->", f"{kind}_l2_ops") if metric == "l2" else ("<#>", f"{kind}_ip_ops")


def read_settings(about: Mapping[str, Any]) -> tuple[PgEngine, str]:
    """Engine and type of numbers of an index, of what it says of itself."""
    return read_engine(about["engine"]), about.get("dtype", "float32")
