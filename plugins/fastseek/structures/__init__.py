"""The nouns that travel: Item, Embeddings, Ranking, Truth, and the Score that ends the way.

They are frozen, check themselves when built, and save and load themselves.
"""

from .embeddings import Embeddings, save_manifest, save_shard
from .item import Item
from .ranking import Ranking
from .score import Score, interval
from .shards import Shards
from .truth import Truth

__all__ = ["Embeddings", "Item", "Ranking", "Score", "Shards", "Truth", "interval", "save_manifest", "save_shard"]
