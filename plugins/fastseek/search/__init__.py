"""Searchers: Embeddings x Embeddings -> Ranking."""
