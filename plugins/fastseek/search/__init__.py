"""Searchers: Embeddings x Embeddings -> Ranking."""

from ..registry import import_parts

import_parts(__name__, __path__)
