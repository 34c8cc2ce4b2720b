"""Which embedding a loss looks at."""

from __future__ import annotations

from collections.abc import Mapping


def of_embedding(dims: Mapping[str, int], on: str) -> int:
    """D of the embedding a loss wants.

    Raises:
        ValueError: no branch gives an embedding of that name; lists the names there are.
    """
    if on not in dims:
        raise ValueError(
            f"no branch gives an embedding {on!r}, only {', '.join(sorted(dims)) or 'none'}"
        )
    return dims[on]
