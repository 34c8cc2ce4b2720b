"""Exact comparison of vectors in bounded memory: under search, enhancement, re-ranking, metrics."""
