"""Queries of their own and a gallery, as in re-identification."""

from __future__ import annotations

from collections.abc import Sequence

from ..registry import PROTOCOLS, unparse
from ..structures import Item, Task
from ._sides import figures, truth_by_label, two_sides

DEFINITION = {
    True: "queries ask a gallery for their label; those of the query's own group are junk",
    False: "queries ask a gallery for their label, whatever the groups are",
}


@PROTOCOLS.register()
class QueryGallery:
    """Queries ask a gallery for images of their label; with `camera` those of the query's own group
    are junk, as in re-identification.

    A query that stands in the gallery itself is junk. Images of the split "distractor" are of the
    gallery and answer nothing. Figures: CMC (rank-k) and mAP over the whole gallery.

    Args:
        camera: whether the same label in the same group is junk.
        cmc: the ks of the match curve.

    Source: Zheng et al., Scalable Person Re-identification: A Benchmark, ICCV 2015
    Example: query_gallery(camera=True)
    """

    def __init__(self, camera: bool = True, cmc: tuple[int, ...] = (1, 5, 10)) -> None:
        self.camera, self.cmc = camera, tuple(cmc)

    def tasks(self, items: Sequence[Item]) -> list[Task]:
        """The one task.

        Raises:
            DataError: there are no queries or there is no gallery.
        """
        queries, gallery = two_sides(items)
        name = unparse("query_gallery", [], {"camera": self.camera})
        truth = truth_by_label(queries, gallery, (name, DEFINITION[self.camera], ""), self.camera)
        metrics = (figures("cmc", self.cmc), "map()")
        return [Task("", queries, gallery, truth, metrics, len(gallery))]
