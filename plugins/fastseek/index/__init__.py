"""Galleries that live: images are added, replaced and deleted while others search."""

from .folder_index import Index
from .milvus_index import MilvusIndex
from .open_store import open_store
from .postgres_index import PostgresIndex
from .store import Store

__all__ = ["Index", "MilvusIndex", "PostgresIndex", "Store", "open_store"]
