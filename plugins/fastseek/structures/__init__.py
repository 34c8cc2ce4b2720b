"""The nouns that travel: Item, Embeddings, Ranking, GroundTruth, and the Score that ends the way.

They are frozen, check themselves when built, and save and load themselves.
"""

from __future__ import annotations

import warnings
from typing import Any

from .answers import Answer
from .arrays import Shards
from .embeddings import Embeddings, save_ids, save_shard, shard_name
from .embeddings_manifest import save_manifest
from .geolocation import geolocations_of, parse_geolocation
from .ground_truth import GroundTruth
from .item import Item
from .item_table import ItemTable, Kind, paths_of, with_split
from .ranking import Ranking
from .score import Score, describe_protocol, interval
from .task import Task

__all__ = [
    "Answer",
    "Embeddings",
    "GroundTruth",
    "Item",
    "ItemTable",
    "Kind",
    "Ranking",
    "Score",
    "Shards",
    "Task",
    "describe_protocol",
    "geolocations_of",
    "interval",
    "parse_geolocation",
    "paths_of",
    "save_ids",
    "save_manifest",
    "save_shard",
    "shard_name",
    "with_split",
]

# What version 0.1 called them; the old names go with version 0.2.
_OLD_NAMES: dict[str, type] = {"Truth": GroundTruth, "Items": ItemTable}


def __getattr__(name: str) -> Any:
    if name not in _OLD_NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    new = _OLD_NAMES[name]
    message = f"fastseek.structures.{name} is called {new.__name__}; the old name goes with 0.2"
    warnings.warn(message, DeprecationWarning, stacklevel=2)
    return new
