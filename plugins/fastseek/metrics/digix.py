"""The score of Huawei DIGIX 2020 image retrieval."""

from __future__ import annotations

import numpy as np

from ..registry import METRICS
from ..structures import Score
from ._base import OnHits, first_within, legal_depths, mean
from ._relevance_ranks import Hits
from .map import average_precision
from .precision import found_within

DIVISORS = ("relevant", "found")


@METRICS.register()
class Digix(OnHits):
    """0.5 * top-1 accuracy + 0.5 * mAP@k with k = 10.

    The contest's page does not survive, so what average precision is divided by is open: "relevant"
    divides by min(relevant images, k), "found" by the number of right images among the first k.

    Args:
        k: how many places count.
        divisor: "relevant" or "found".

    Source: Huawei DIGIX 2020 image retrieval
    Example: digix(k=10)
    """

    def __init__(self, k: int = 10, divisor: str = "relevant") -> None:
        self.k = legal_depths((k,))[0]
        if divisor not in DIVISORS:
            raise ValueError(f"divisor must be one of {', '.join(DIVISORS)}, got {divisor!r}")
        self.divisor = divisor

    def score(self, hits: Hits) -> list[Score]:
        """One score, "digix"; its protocol tells the divisor."""
        hits.need_depth(self.k, f"digix(k={self.k})")
        precision = average_precision(hits, self.k)
        if self.divisor == "found":
            # Average precision came divided by min(relevant, k): that is taken back first.
            found = np.maximum(found_within(hits, self.k), 1)
            precision = precision * np.minimum(np.maximum(hits.relevant, 1), self.k) / found
        score = mean("digix", 0.5 * first_within(hits, 1) + 0.5 * precision, hits)
        told = {**score.protocol, "k": self.k, "ap_divided_by": self.divisor}
        return [Score(score.name, score.value, score.per_query, told)]
