"""The index types of Milvus: what each is built and searched with, and which servers have it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ..errors import UsageError
from ..registry import parse, suggest_names, unparse

Version = tuple[int, ...]
GPU = "GPU_"  # of these the server checks what they are given
# Those the embedded engine builds; others it takes, logs as failed in the background, and searches
# without.
EMBEDDED = ("AUTOINDEX", "BRUTE_FORCE", "FLAT", "HNSW", "HNSW_SQ", "IVF_FLAT", "IVF_SQ8")


class Setting(NamedTuple):
    """A number or a yes or no that an index type takes.

    `default` is what it is where it is not named: old servers know none, and refuse. None leaves it
    to the server.
    """

    kind: type
    low: float = 0
    high: float = 0
    default: Any = None


class Kind(NamedTuple):
    """What an index type is built with, what it is searched with, and since when there is one."""

    build: Mapping[str, Setting] = {}
    search: Mapping[str, Setting] = {}
    since: Version = ()


CELLS = {"nlist": Setting(int, 1, 65536, 1024)}
PROBES = {"nprobe": Setting(int, 1, 65536, 64)}
GRAPH = {"M": Setting(int, 2, 2048, 16), "efConstruction": Setting(int, 1, 2**31 - 1, 200)}
WIDTH = {"ef": Setting(int, 1, 32768, 128)}
CODES = {"m": Setting(int, 1, 32768), "nbits": Setting(int, 1, 24, 8)}
REFINED = {"refine": Setting(bool)}
REFINE = {"refine_k": Setting(float, 1, 1e6)}
RAW = {"with_raw_data": Setting(bool, default=True)}
KINDS = {
    "AUTOINDEX": Kind(),
    "BRUTE_FORCE": Kind(),
    "FLAT": Kind(),
    "IVF_FLAT": Kind(CELLS, PROBES),
    "IVF_SQ8": Kind(CELLS, PROBES),
    "IVF_PQ": Kind({**CELLS, **CODES}, PROBES),
    "IVF_RABITQ": Kind({**CELLS, **REFINED}, {**PROBES, **REFINE}, (2, 6)),
    "HNSW": Kind(GRAPH, WIDTH),
    "HNSW_SQ": Kind({**GRAPH, **REFINED}, {**WIDTH, **REFINE}, (2, 5)),
    "HNSW_PQ": Kind({**GRAPH, **CODES, **REFINED}, {**WIDTH, **REFINE}, (2, 5)),
    "SCANN": Kind({**CELLS, **RAW}, {**PROBES, "reorder_k": Setting(int, 1, 2**31 - 1, 200)}),
    "DISKANN": Kind({}, {"search_list": Setting(int, 1, 65535, 128)}),
}
AT_LEAST_K = ("ef", "search_list", "reorder_k")  # what is smaller than k is refused by a server


class IndexType(NamedTuple):
    """An index type with the settings that were named."""

    name: str
    build: Mapping[str, Any]
    search: Mapping[str, Any]

    def __str__(self) -> str:
        return _spell_call(self.name, {**self.build, **self.search})

    @property
    def built(self) -> str:
        """The type and what it is built with: of another one an index must be built anew."""
        return _spell_call(self.name, self.build)

    def search_with(self, settings: Mapping[str, Any]) -> IndexType:
        """The same type with other settings of searching.

        Raises:
            UsageError: it has no such settings.
        """
        other = read_index_type(_spell_call(self.name, settings))
        if other.build:
            raise UsageError(f"{next(iter(other.build))} is a setting of building {self.name}")
        return self._replace(search={**self.search, **other.search})

    def build_settings(self, dim: int) -> dict[str, Any]:
        """All that a server must be told to build it, for vectors of some length."""
        known = KINDS.get(self.name, Kind()).build
        told = {key: one.default for key, one in known.items() if one.default is not None}
        if "m" in known:
            # Codes of two numbers each, as far as these divide the vectors.
            told["m"] = next(part for part in range(max(1, dim // 2), 0, -1) if dim % part == 0)
        made = {**told, **self.build}
        if dim % made.get("m", 1):
            raise UsageError(f"{self.built}: m must divide the {dim} numbers of a vector")
        return made

    def search_settings(self, k: int) -> dict[str, Any]:
        """All that a server must be told to find the k best."""
        known = KINDS.get(self.name, Kind()).search
        told = {key: one.default for key, one in known.items() if one.default is not None}
        told |= {key: max(k, told[key]) for key in AT_LEAST_K if key in told}
        for key in AT_LEAST_K:
            if self.search.get(key, k) < k:
                raise UsageError(
                    f"{self.name}: {key} must be k or more, {k}, got {self.search[key]}"
                )
        return {**told, **self.search}


def read_index_type(call: str) -> IndexType:
    """Read an index type with its settings, of building and of searching.

    Args:
        call: such as "FLAT", or "HNSW(M=16, efConstruction=200, ef=100)".

    Raises:
        UsageError: there is no such type, it has no such setting, or the value is none for it.
    """
    name, args, given = parse(call)
    name = name.upper()
    if name.startswith(GPU):
        return IndexType(name, given, {})
    if name not in KINDS:
        raise UsageError(
            f"Milvus has no index type {name!r}{suggest_names(name, [*KINDS, GPU + '…'])}"
        )
    if args:
        raise UsageError(f"{call}: name its settings, such as M=16")
    kind = KINDS[name]
    known = {**kind.build, **kind.search}
    for key, value in given.items():
        if key not in known:
            has = f"; it has {', '.join(known)}" if known else ", and needs none"
            raise UsageError(f"{name} has no setting {key!r}{has}")
        _check(name, key, value, known[key])
    sides = (
        {key: given[key] for key in given if key in side} for side in (kind.build, kind.search)
    )
    return IndexType(name, *sides)


def check_server(kind: IndexType, embedded: bool, version: Version) -> None:
    """Check that a database has an index type.

    Args:
        kind: the type.
        embedded: whether it is Milvus Lite.
        version: of a server.

    Raises:
        UsageError: it has not.
    """
    if embedded:
        if kind.name not in EMBEDDED:
            raise UsageError(
                f"no index of an embedded database is called {kind.name!r}"
                f"{suggest_names(kind.name, list(EMBEDDED))}"
            )
        return
    since = KINDS.get(kind.name, Kind()).since
    if version < since:
        raise UsageError(
            f"{kind.name} needs Milvus {spell_version(since)}, and this server is {spell_version(version)}: name"
            " another index type, or upgrade the server"
        )


def _spell_call(name: str, settings: Mapping[str, Any]) -> str:
    return unparse(name, (), settings) if settings else name


def _check(name: str, key: str, value: Any, setting: Setting) -> None:
    if setting.kind is bool:
        if not isinstance(value, bool):
            raise UsageError(f"{name}: {key} must be True or False, got {value!r}")
        return
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not whole and (setting.kind is int or not isinstance(value, float)):
        what = "a whole number" if setting.kind is int else "a number"
        raise UsageError(f"{name}: {key} must be {what}, got {value!r}")
    if not setting.low <= value <= setting.high:
        raise UsageError(
            f"{name}: {key} must be {setting.low:g} to {setting.high:g}, got {value!r}"
        )


def spell_version(version: Version) -> str:
    """A version as one writes it."""
    return ".".join(map(str, version))
