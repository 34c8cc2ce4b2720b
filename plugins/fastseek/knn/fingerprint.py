"""A hash of embeddings, by which what was made from them is known again."""

from __future__ import annotations

import contextlib
import hashlib

import numpy as np

from ..structures import Embeddings
from ..structures.arrays import StringArray


def fingerprint(embeddings: Embeddings, rows: int = 4096) -> str:
    """SHA-256 over ids, type and numbers of some embeddings, read in blocks of `rows`."""
    digest = hashlib.sha256(f"{embeddings.vectors.dtype} {embeddings.vectors.shape}".encode())
    digest.update(spell_ids(embeddings.ids))
    for start in range(0, len(embeddings), rows):
        digest.update(np.ascontiguousarray(embeddings.vectors[start : start + rows]).data)
    return digest.hexdigest()


def spell_ids(ids: StringArray) -> bytes:
    """Bytes by which some ids are known, and no other ids as many as they."""
    names = ids.tolist()
    text = "\n".join(names)
    if text.count("\n") == max(0, len(names) - 1):
        with contextlib.suppress(UnicodeEncodeError):  # a lone surrogate that is no file name's
            plain = text.encode("utf-8", "surrogateescape")
            if plain.decode("utf-8", "surrogateescape") == text:
                return plain
    # These have more line breaks than the plain ones, and the lengths tell where an id ends.
    return "\n".join([text, *(str(len(name)) for name in names)]).encode(
        "utf-32-le", "surrogatepass"
    )
