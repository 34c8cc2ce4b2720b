"""A weighted vote over the first answers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..registry import FUSERS
from ._linear import Linear, check_count


@FUSERS.register()
class Vote(Linear):
    """Every member gives its first `depth` answers 1, 1/2, 1/3 … votes times its weight.

    Equal votes: the better best place, then the id. Huawei DIGIX 2020 image retrieval, second
    place.

    Args:
        depth: how many answers of each member vote.
        weights: one a member; all 1 when None.
        keep: answers a query gets; `depth` when None.
        union: whether each member may have searched a gallery of its own.

    Source: Huawei DIGIX 2020 image retrieval, second place
        (github.com/lin-honghui/Huawei_DIGIX_ImageRetri_Top2)
    Example: vote(depth=10)
    """

    def __init__(
        self,
        depth: int = 10,
        weights: Sequence[float] | None = None,
        keep: int | None = None,
        union: bool = False,
    ) -> None:
        super().__init__(weights, keep, union)
        self.depth = check_count("depth", depth)

    def rate(self, scores: np.ndarray, places: np.ndarray) -> np.ndarray:
        """One part in the place."""
        return 1 / places
