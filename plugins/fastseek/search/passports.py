"""Whether two sets of embeddings may be compared; re-rankers and fits ask the same, so the answer
is in `passports`.
"""

from __future__ import annotations

from ..passports import KEYS, check_same_model

__all__ = ["KEYS", "check_same_model"]
