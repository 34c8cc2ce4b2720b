"""What a recipe and its bases set, and where."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

from ..errors import UsageError
from ..io.paths import PathLike
from ..io.yaml_lines import Document, read_yaml
from .keys import today_key
from .nested import flatten

BASE = "_BASE_"
OVERRIDE = "command line"


@dataclasses.dataclass(frozen=True)
class Setting:
    """One key that a recipe sets: its value, and the file and line ("line 0" for the command
    line).
    """

    key: str
    value: Any
    file: str
    line: int

    @property
    def where(self) -> str:
        """ "configs/x.yml:12", or "command line"."""
        return f"{self.file}:{self.line}" if self.line else self.file


def chain(config_file: PathLike) -> list[Setting]:
    """What a recipe and its bases set, the farthest base first, so that the last setting of a key
    holds.

    Raises:
        UsageError: a file cannot be read, or its bases come back to it.
    """
    return [
        setting for document in reversed(_documents(config_file)) for setting in _settings(document)
    ]


def _documents(config_file: PathLike) -> list[Document]:
    documents, seen = [], [os.path.abspath(config_file)]
    following: PathLike | None = config_file
    while following is not None:
        document = read_yaml(following)
        documents.append(document)
        following = _base(document)
        if following is not None:
            if os.path.abspath(following) in seen:
                line = document.lines[BASE]
                raise UsageError(
                    f"{document.path}:{line}: {BASE} leads back to {following}; break the circle"
                )
            seen.append(os.path.abspath(following))
    return documents


def _base(document: Document) -> str | None:
    if BASE not in document.values:
        return None
    base, where = document.values[BASE], f"{document.path}:{document.lines[BASE]}"
    if not isinstance(base, str) or not base:
        raise UsageError(f"{where}: {BASE} must be one file name, got {base!r}")
    if "://" in base:
        raise UsageError(
            f"{where}: {BASE} {base} is not on this machine: download it and name the file"
        )
    path = pathlib.Path(document.path).parent / os.path.expanduser(base)
    if not path.is_file():
        raise UsageError(f"{where}: {BASE} {base} is not there; looked for {path}")
    return os.path.normpath(path)


def _settings(document: Document) -> Iterator[Setting]:
    for key, value in flatten(document.values).items():
        if key != BASE:
            yield Setting(today_key(key), value, document.path, document.lines[key])


def flat_settings(document: Document, prefix: str) -> list[Setting]:
    """What stands below a key of a file that is no recipe: keys of recipes, nested or dotted.

    Args:
        document: the file.
        prefix: "SET." or "STEPS[2].SET.".
    """
    node: Any = document.values
    for name in prefix.rstrip(".").split("."):
        key, _, number = name.rstrip("]").partition("[")
        node = node.get(key, {}) if isinstance(node, dict) else {}
        if number:
            node = node[int(number)]
    return [
        Setting(today_key(key), value, document.path, document.lines[f"{prefix}{key}"])
        for key, value in flatten(node).items()
    ]


def overrides(opts: Sequence[str]) -> list[Setting]:
    """KEY VALUE pairs as settings.

    Raises:
        UsageError: a key has no value.
    """
    if len(opts) % 2:
        raise UsageError(
            f"overrides come in pairs, KEY VALUE; {opts[-1]!r} at the end has no partner"
        )
    return [
        Setting(today_key(key), value, OVERRIDE, 0)
        for key, value in zip(opts[::2], opts[1::2], strict=True)
    ]
