"""The models that are shown, and the pins that are shipped."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from importlib import resources
from typing import Any


@functools.cache
def read_catalog() -> Mapping[str, Any]:
    """The catalogue file of this package."""
    text = resources.files(__package__).joinpath("catalog.json").read_text(encoding="utf-8")
    found: Mapping[str, Any] = json.loads(text)
    return found


def list_names() -> dict[str, str]:
    """Name -> what it is, of every model that is shown."""
    return {one["name"]: one["about"] for one in read_catalog()["models"]}


def find_pin(repo: str) -> Mapping[str, Any]:
    """File, revision and SHA-256 that this version pins for a repository; {} where it does not."""
    pin: Mapping[str, Any] = read_catalog()["pins"].get(repo, {})
    return pin
