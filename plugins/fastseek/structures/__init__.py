"""The nouns that travel: Item, Embeddings, Ranking, Truth, and the Score that ends the way.

They are frozen, check themselves when built, and save and load themselves.
"""

from .arrays import Shards
from .embeddings import Embeddings, save_manifest, save_shard
from .geolocation import geolocations_of, parse_geolocation
from .ground_truth import GroundTruth
from .item import Item
from .item_table import ItemTable, Kind, paths_of, with_split
from .ranking import Ranking
from .score import Score, interval

__all__ = [
    "Embeddings",
    "GroundTruth",
    "Item",
    "ItemTable",
    "Kind",
    "Ranking",
    "Score",
    "Shards",
    "geolocations_of",
    "interval",
    "parse_geolocation",
    "paths_of",
    "save_manifest",
    "save_shard",
    "with_split",
]
