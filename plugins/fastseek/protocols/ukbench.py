"""UKBench."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from ..registry import PROTOCOLS
from ..structures import GroundTruth, Item, Task
from ..structures.ground_truth import LabeledSide
from ..structures.identity import ROW_NUMBERS
from ..structures.task import needed_depth, with_protocol
from ._sides import select

DEFINITION = "each image asks all, itself included, for the four of its object: 0 to 4 are found"


@PROTOCOLS.register()
class Ukbench:
    """Each test image asks for the four images of its object, itself among them: the N-S score, 0 to
    4.

    Source: Nistér and Stewénius, Scalable Recognition with a Vocabulary Tree, CVPR 2006
    Example: ukbench()
    """

    def tasks(self, items: Sequence[Item]) -> list[Task]:
        """The one task.

        Raises:
            DataError: no image is of the split "test".
        """
        asked = select(items, "test")
        side = LabeledSide([item.id for item in asked], [item.label for item in asked])
        labeled = GroundTruth.from_sides(side, side, ROW_NUMBERS)
        labeled = dataclasses.replace(labeled, protocol={"relevant": "same label, itself too"})
        truth = with_protocol(labeled, "ukbench()", DEFINITION)
        return [Task("", asked, asked, truth, ("n_s()",), needed_depth(truth, 4))]
