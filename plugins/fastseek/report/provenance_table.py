"""Provenances made fit to be read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

# Where things lie on this machine is nobody else's business: a full path, whole or inside a call
# such as folder('/home/someone/images').
PATH = re.compile(r"^(/|~|[A-Za-z]:[\\/]|\\\\)")
INNER_PATH = re.compile(
    r"(?<![\w./\\…])(?:~?/|[A-Za-z]:[\\/]|\\\\)[^\s'\",;()\[\]]*[^\s'\",;()\[\].:]"
)
HASH = re.compile(r"^(sha256:)?[0-9a-f]{40,64}$")
HEADLINES = {
    "recipe": ("recipe", "config"),
    "model": ("weights_sha256", "weights", "model"),
    "views": ("views",),
    "enhanced by": ("enhance",),
    "searched by": ("search",),
    "re-ranked by": ("rerank",),
    "fused by": ("fuse",),
}


def flat(provenance: Any, name: str = "") -> list[tuple[str, str]]:
    """A nested provenance as lines: ("queries.model.name", "…"), in the order of their names; of full
    paths the end.
    """
    return list(_lines(provenance, name))


def _lines(value: Any, name: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key in sorted(value, key=str):
            yield from _lines(value[key], f"{name}.{key}" if name else str(key))
    elif isinstance(value, list | tuple) and any(isinstance(one, Mapping) for one in value):
        for number, one in enumerate(value):
            yield from _lines(one, f"{name}[{number}]")
    else:
        yield name, _plain(value)


def _plain(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(_plain(one) for one in value) or "none"
    text = "none" if value is None or value == "" else str(value)
    return _last_name(text) if PATH.match(text) else hide_folders(text)


def hide_folders(text: str) -> str:
    """A text in which full paths are cut to their last name: folder('…/images')."""
    return INNER_PATH.sub(lambda match: _last_name(match[0]), text)


def _last_name(path: str) -> str:
    return "…/" + path.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]


def facts(provenance: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What stands below the heading: recipe, model, search and re-ranking, as far as the provenance
    tells them.
    """
    lines = flat(provenance)
    found = [(headline, _first(lines, keys)) for headline, keys in HEADLINES.items()]
    return [(headline, value) for headline, value in found if value]


def _first(lines: Sequence[tuple[str, str]], keys: Sequence[str]) -> str:
    for key in keys:
        for name, value in lines:
            if name.rsplit(".", 1)[-1] == key and value != "none":
                return value.removeprefix("sha256:")[:12] if HASH.match(value) else value
    return ""
