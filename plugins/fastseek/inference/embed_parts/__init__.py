"""Embedding by several processes that share nothing but a folder: a part each, by any launcher."""
