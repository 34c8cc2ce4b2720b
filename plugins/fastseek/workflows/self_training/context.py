"""What the steps of a round have at hand: the images, and what the steps before have made."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ...io.stage_record import Stage
from ...registry import ENHANCERS, build
from ...self_training.pseudo_labels import PseudoLabels
from ...self_training.tables import read_truth, write_table
from ...structures import Embeddings, Score
from .images import ImagePools


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a step has made.

    Args:
        files: in its folder.
        scores: its figures.
        results: what other steps want to know, as JSON values.
        warning: what a person should know; "" for nothing.
    """

    files: Sequence[pathlib.Path]
    scores: Sequence[Score] = ()
    results: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    warning: str = ""


@dataclasses.dataclass
class RoundContext:
    """Images and finished steps.

    Args:
        images: what is learned from.
        number: of the round, from 1.
        seed: of everything drawn.
        last: the last finished step of every kind as "@kind", of `cluster` and `recluster` together
            as "@clusters", and the last of every name; at first those of the round before.
    """

    images: ImagePools
    number: int
    seed: int
    last: dict[str, Stage]

    def features(
        self, enhance: Sequence[str] = (), items: Iterable[str] | None = None
    ) -> Embeddings:
        """The vectors of the last `embed`, of all images or some, enhanced.

        Raises:
            ArtefactError: the vectors are not as they were written.
        """
        found = Embeddings.load(self.last["@embed"].folder / "vectors", verify=True)
        if items is not None:
            wanted = set(items)
            rows = np.flatnonzero([name in wanted for name in found.ids.tolist()])
            vectors = np.asarray(found.vectors[:])[rows]
            found = Embeddings(found.ids[rows], vectors, found.provenance)
        for call in enhance:
            found = build(call, ENHANCERS)(found, found)[1]
        return found

    def labels(self, ids: Iterable[str]) -> list[str]:
        """The known classes of images, "" for those without."""
        return self._column("label", ids)

    def groups(self, ids: Iterable[str]) -> list[str]:
        """The groups of images."""
        return self._column("group", ids)

    def _column(self, field: str, ids: Iterable[str]) -> list[str]:
        known = {item.id: getattr(item, field) for item in self.images.pool}
        return [known[name] for name in ids]

    def number_unlabelled(
        self, ids: np.ndarray, numbers: np.ndarray
    ) -> tuple[np.ndarray, list[str]]:
        """Numbers (-1 for none) and hidden classes of all unlabelled images."""
        place = dict(zip(ids.tolist(), numbers.tolist(), strict=True))
        names = [item.id for item in self.images.unlabelled]
        found = np.array([place.get(name, -1) for name in names], np.int64)
        return found, [self.images.truth.get(name, "") for name in names]

    def read_choice(self, name: str) -> dict[str, str]:
        """id -> label of what a `select` or `pseudo` step has chosen."""
        stage = self.last[name]
        if stage.results["kind"] == "select":
            return read_truth(stage.path("round"))
        found = PseudoLabels.load(stage.path("round"))
        ids, labels = found.ids[found.accepted], found.labels[found.accepted]
        return dict(zip(ids.tolist(), labels.tolist(), strict=True))


def list_files(folder: pathlib.Path) -> list[pathlib.Path]:
    """The files of an embeddings folder whose bytes count."""
    return [folder / "manifest.json", *sorted(folder.glob("*.npy"))]


@dataclasses.dataclass(frozen=True)
class Choice:
    """An image that a step keeps, and the label it gives it."""

    id: str
    label: str


def write_choice(path: pathlib.Path, kept: Mapping[str, str]) -> pathlib.Path:
    """Write id -> label as a table."""
    write_table(path, [Choice(name, label) for name, label in kept.items()], Choice)
    return path
