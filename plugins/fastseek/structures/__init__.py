"""The nouns that travel: Item, Embeddings, Ranking, Truth, and the Score that ends the way.

They are frozen, check themselves when built, and save and load themselves.
"""

from .embeddings import Embeddings, save_manifest, save_shard
from .item import Item
from .items import Items, Kind, paths_of, with_split
from .place import place, places_of
from .ranking import Ranking
from .score import Score, interval
from .shards import Shards
from .truth import Truth

__all__ = [
    "Embeddings",
    "Item",
    "Items",
    "Kind",
    "Ranking",
    "Score",
    "Shards",
    "Truth",
    "interval",
    "paths_of",
    "place",
    "places_of",
    "save_manifest",
    "save_shard",
    "with_split",
]
