"""A hash of embeddings, by which what was made from them is known again."""

from __future__ import annotations

import hashlib

import numpy as np

from ..structures import Embeddings


def fingerprint(embeddings: Embeddings, rows: int = 4096) -> str:
    """SHA-256 over ids, type and numbers of some embeddings, read in blocks of `rows`."""
    digest = hashlib.sha256(f"{embeddings.vectors.dtype} {embeddings.vectors.shape}".encode())
    digest.update("\n".join(embeddings.ids.tolist()).encode("utf-8", "surrogateescape"))
    for start in range(0, len(embeddings), rows):
        digest.update(np.ascontiguousarray(embeddings.vectors[start : start + rows]).data)
    return digest.hexdigest()
