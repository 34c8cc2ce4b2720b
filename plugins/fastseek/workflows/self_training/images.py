"""The images of a plan of rounds: with labels, without, and those to validate with."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from ...data.fastreid_datasets import resolve
from ...errors import DataError
from ...self_training.simulate_unlabelled import hide
from ...self_training.tables import write_manifest, write_truth
from ...self_training.test_data_guard import check_allowed
from ...structures import Item
from ...structures.identity import file_name, unique_items
from .spec import RoundsPlan


@dataclasses.dataclass(frozen=True)
class ImagePools:
    """What a plan learns from and is measured with.

    Args:
        labelled: with classes.
        unlabelled: without.
        validation: with classes, not learned from.
        truth: id -> hidden class of unlabelled images, as far as known; only for measuring.
    """

    labelled: tuple[Item, ...]
    unlabelled: tuple[Item, ...]
    validation: tuple[Item, ...]
    truth: Mapping[str, str]

    @property
    def pool(self) -> tuple[Item, ...]:
        """All images there are to learn from, the labelled ones first."""
        return self.labelled + self.unlabelled

    @property
    def classes(self) -> list[str]:
        """The classes of the labelled images, sorted."""
        return sorted({item.label for item in self.labelled})

    @property
    def measurable(self) -> bool:
        """Whether the class of every unlabelled image is known after all."""
        return bool(self.unlabelled) and all(self.truth.get(item.id) for item in self.unlabelled)


def image_pools_of(plan: RoundsPlan, out: pathlib.Path) -> ImagePools:
    """Read the images of a plan, and write down what was hidden.

    Raises:
        DataError: a data set is missing, or has no labelled, unlabelled or validation images.
        UsageError: unlabelled images are test images, and the plan does not allow that.
    """
    found = _hide_labels(plan, out) if plan.data.hide else _read_pools(plan)
    for name in ("labelled", "unlabelled", "validation"):
        if not getattr(found, name):
            raise DataError(
                f'{plan.path}: DATA gives no {name} images (labelled: split "train" with a label, '
                'validation: split "query" with a label)'
            )
    test = resolve(plan.data.test) if plan.data.test and not plan.data.test_data else ()
    check_allowed(found.unlabelled, [*found.validation, *test], plan.data.test_data)
    return found


def _read_pools(plan: RoundsPlan) -> ImagePools:
    known, others = resolve(plan.data.labelled), resolve(plan.data.unlabelled)
    labelled = [item for item in known if item.split == "train" and item.label]
    own = {file_name(item) for item in labelled}
    unlabelled = [
        item for item in others if item.split == plan.data.split and file_name(item) not in own
    ]
    # Both are known by their ids from here on, so an id must not name two images.
    pool = unique_items([*labelled, *unlabelled], f"{plan.data.labelled}, {plan.data.unlabelled}")
    unlabelled = [item for item in pool if file_name(item) not in own]
    return ImagePools(
        labelled=tuple(item for item in pool if file_name(item) in own),
        unlabelled=tuple(dataclasses.replace(item, label="") for item in unlabelled),
        validation=tuple(item for item in known if item.split == "query" and item.label),
        truth={item.id: item.label for item in unlabelled if item.label},
    )


def _hide_labels(plan: RoundsPlan, out: pathlib.Path) -> ImagePools:
    data = plan.data
    shots = (data.shots[0], data.shots[-1])
    found = hide(resolve(data.hide), data.classes, shots, data.folder, plan.seed)
    # An older run has its tables in a folder of this name, and trainings know them by it.
    home = out / "photos"
    for name in ("labelled", "unlabelled", "validation"):
        write_manifest(home, name, 0, [(name, getattr(found, name))])
    write_truth(home / "truth.csv", found.truth)
    return ImagePools(found.labelled, found.unlabelled, found.validation, found.truth)


def without_groups(items: Sequence[Item], **changes: Any) -> list[Item]:
    """Copies whose group is unknown: a phylum is no camera."""
    return [dataclasses.replace(item, group="", **changes) for item in items]
