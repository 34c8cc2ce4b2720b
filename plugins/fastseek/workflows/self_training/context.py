"""What the steps of a round have at hand: the photos, and what the steps before have made."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ...io.stage_record import Stage
from ...registry import ENHANCERS, build
from ...self_training.pseudo_labels import PseudoLabels
from ...self_training.tables import read_truth, write_table
from ...structures import Embeddings, Score
from .images import ImagePools
from .steps import GrowStep

Told = tuple[
    list[pathlib.Path], list[Score], dict[str, Any]
]  # files, figures, what other steps want to know


@dataclasses.dataclass
class RoundContext:
    """Photos and finished steps.

    Args:
        photos: what is learned from.
        number: of the round, from 1.
        seed: of everything drawn.
        last: the last finished step of every kind as "@kind", of `cluster` and `recluster` together
            as "@clusters", and the last of every name; at first those of the round before.
    """

    photos: ImagePools
    number: int
    seed: int
    last: dict[str, Stage]

    def features(self, step: GrowStep, items: Iterable[str] | None = None) -> Embeddings:
        """The vectors of the last `embed`, of all photos or some, treated with the step's
        ENHANCE.
        """
        found = Embeddings.load(self.last["@embed"].folder / "vectors")
        if items is not None:
            wanted = set(items)
            rows = np.flatnonzero([name in wanted for name in found.ids.tolist()])
            found = Embeddings(
                found.ids[rows], np.asarray(found.vectors[:])[rows], found.provenance
            )
        for call in step.values.get("ENHANCE", ()):
            found = build(call, ENHANCERS)(found, found)[1]
        return found

    def labels(self, ids: Iterable[str]) -> list[str]:
        """The known classes of photos, "" for those without."""
        return self._column("label", ids)

    def groups(self, ids: Iterable[str]) -> list[str]:
        """The groups of photos."""
        return self._column("group", ids)

    def _column(self, field: str, ids: Iterable[str]) -> list[str]:
        known = {item.id: getattr(item, field) for item in self.photos.pool}
        return [known[name] for name in ids]

    def loose(self, ids: np.ndarray, numbers: np.ndarray) -> tuple[np.ndarray, list[str]]:
        """Numbers (-1 for none) and hidden classes of all unlabelled photos."""
        place = dict(zip(ids.tolist(), numbers.tolist(), strict=True))
        names = [item.id for item in self.photos.unlabelled]
        return (
            np.array([place.get(name, -1) for name in names], np.int64),
            [self.photos.truth.get(name, "") for name in names],
        )

    def chosen(self, name: str) -> dict[str, str]:
        """id -> label of what a `select` or `pseudo` step has chosen."""
        stage = self.last[name]
        if stage.results["kind"] == "select":
            return read_truth(stage.path("round"))
        found = PseudoLabels.load(stage.path("round"))
        return dict(
            zip(
                found.ids[found.accepted].tolist(),
                found.labels[found.accepted].tolist(),
                strict=True,
            )
        )


@dataclasses.dataclass(frozen=True)
class Chosen:
    """A photo that a choice kept, and the label it gives it."""

    id: str
    label: str


def write_choice(path: pathlib.Path, kept: Mapping[str, str]) -> pathlib.Path:
    """Write id -> label as a table."""
    write_table(path, [Chosen(name, label) for name, label in kept.items()], Chosen)
    return path


def images_of_choice(step: GrowStep, **keys: str) -> dict[str, Any]:
    """The keys a step sets, under the names of the arguments they are for: argument=KEY."""
    return {name: step.values[key] for name, key in keys.items() if key in step.values}
