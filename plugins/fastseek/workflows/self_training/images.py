"""The photos of a plan of rounds: with labels, without, and those to validate with."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from ...config.plugins import register
from ...data.fastreid_datasets import resolve
from ...errors import DataError
from ...self_training.simulate_unlabelled import hide
from ...self_training.tables import write_manifest, write_truth
from ...self_training.test_data_guard import check_allowed
from ...structures import Item
from .steps import RoundsPlan

from fastreid.config import get_cfg


@dataclasses.dataclass(frozen=True)
class ImagePools:
    """What a plan learns from and is measured with.

    Args:
        labelled: with classes.
        unlabelled: without.
        validation: with classes, not learned from.
        truth: id -> hidden class of unlabelled photos, as far as known; only for measuring.
    """

    labelled: tuple[Item, ...]
    unlabelled: tuple[Item, ...]
    validation: tuple[Item, ...]
    truth: Mapping[str, str]

    @property
    def pool(self) -> tuple[Item, ...]:
        """All photos there are to learn from, the labelled ones first."""
        return self.labelled + self.unlabelled

    @property
    def classes(self) -> list[str]:
        """The classes of the labelled photos, sorted."""
        return sorted({item.label for item in self.labelled})

    @property
    def measurable(self) -> bool:
        """Whether the class of every unlabelled photo is known after all."""
        return bool(self.unlabelled) and all(self.truth.get(item.id) for item in self.unlabelled)


def image_pools_of(plan: RoundsPlan, out: pathlib.Path) -> ImagePools:
    """Read the photos of a plan, and write down what was hidden.

    Raises:
        DataError: a data set is missing, or has no labelled, unlabelled or validation photos.
        UsageError: unlabelled photos are test photos, and the plan does not allow that.
    """
    found = _hide_labels(plan, out) if "HIDE" in plan.data else _read_groups(plan)
    for name in ("labelled", "unlabelled", "validation"):
        if not getattr(found, name):
            raise DataError(
                f'{plan.path}: DATA gives no {name} photos (labelled: split "train" with a label, '
                'validation: split "query" with a label)'
            )
    check_allowed(found.unlabelled, found.validation, bool(plan.data.get("TEST_DATA", False)))
    return found


def _items(name: str) -> Sequence[Item]:
    cfg = get_cfg()
    register(cfg)
    return resolve(name, combine_all=cfg.DATASETS.COMBINEALL)


def _read_groups(plan: RoundsPlan) -> ImagePools:
    known, others = _items(plan.data["LABELLED"]), _items(plan.data["UNLABELLED"])
    labelled = [item for item in known if item.split == "train" and item.label]
    own = {item.id for item in labelled}
    loose = list(
        {
            item.id: item
            for item in others
            if item.split == plan.data.get("SPLIT", "train") and item.id not in own
        }.values()
    )
    return ImagePools(
        tuple({item.id: item for item in labelled}.values()),
        tuple(dataclasses.replace(item, label="") for item in loose),
        tuple(item for item in known if item.split == "query" and item.label),
        {item.id: item.label for item in loose if item.label},
    )


def _hide_labels(plan: RoundsPlan, out: pathlib.Path) -> ImagePools:
    shots, folder = plan.data.get("SHOTS", [3, 12]), plan.data.get("FOLDER")
    found = hide(
        _items(plan.data["HIDE"]),
        plan.data.get("CLASSES", 0.5),
        (int(shots[0]), int(shots[-1])),
        None if folder is None else int(folder),
        plan.seed,
    )
    home = out / "photos"
    for name in ("labelled", "unlabelled", "validation"):
        write_manifest(home, name, 0, [(name, getattr(found, name))])
    write_truth(home / "truth.csv", found.truth)
    return ImagePools(found.labelled, found.unlabelled, found.validation, found.truth)


def without_groups(items: Sequence[Item], **changes: Any) -> list[Item]:
    """Copies whose group is unknown: a phylum is no camera."""
    return [dataclasses.replace(item, group="", **changes) for item in items]
