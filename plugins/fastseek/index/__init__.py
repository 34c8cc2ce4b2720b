"""Galleries that live: images are added, replaced and deleted while others search."""

from .folder_index import Index
from .store import Store

__all__ = ["Index", "Store"]
