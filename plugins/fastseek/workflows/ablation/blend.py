"""Steps of an ablation that blend what earlier steps said, with equal or evolved weights or a
prior.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...classification.blend import blend_members
from ...classification.evolve import SEARCHES, cross_halves
from ...classification.prior import with_prior
from ...data.fastreid_datasets import resolve
from ...errors import ArtefactError, UsageError
from ...structures import Item, geolocations_of
from ...structures.splits import select_split
from .ensemble import Classified

KEYS = ("OF", "EVOLVE", "PRIOR")


@dataclasses.dataclass(frozen=True)
class Blend:
    """How the probabilities of earlier steps become one.

    Args:
        evolve: "de" or "cma", weights for each half of the photos evolved on the other; "" for
            equal ones.
        prior: whether the last member is a prior of place that the blend of the others is
            multiplied with, for photos whose place is known.
    """

    evolve: str = ""
    prior: bool = False


def read_blend(said: Any, names: Sequence[str], where: str) -> tuple[Blend, tuple[int, ...]]:
    """A step's BLEND: {OF: [steps], EVOLVE: de|cma, PRIOR: step}, and the numbers of its members,
    the prior last.

    Raises:
        UsageError: another key or search, no earlier step of that name, or nothing to do.
    """
    known = {name: number for number, name in enumerate(names)}
    of, prior, evolve = (
        said.get(key, default) for key, default in (("OF", []), ("PRIOR", ""), ("EVOLVE", ""))
    )
    asked = [*(of if isinstance(of, list) else [of]), *([prior] if prior else [])]
    wrong = [
        *(key for key in said if key not in KEYS),
        *(str(name) for name in asked if name not in known),
    ]
    if wrong or not of or len(asked) < 2 or evolve not in ("", *SEARCHES):
        raise UsageError(
            f"{where}: BLEND must be OF, a list of earlier steps, and EVOLVE"
            f" ({' or '.join(SEARCHES)}), PRIOR (an earlier step), or several"
            f" steps{'; wrong: ' + ', '.join(wrong) if wrong else ''}"
        )
    return Blend(evolve, bool(prior)), tuple(known[name] for name in asked)


def blend(how: Blend, folders: Sequence[pathlib.Path], seed: int, cfg: Any) -> Classified:
    """What several answers say together.

    Args:
        how: see `Blend`.
        folders: with classified.npz, of the same photos in the same order; the prior's last.
        seed: of the evolution.
        cfg: the step's recipe, whose test photos they are.

    Raises:
        ArtefactError: they are of different photos or classes.
    """
    found = [Classified.load(folder / "classified.npz") for folder in folders]
    first = found[0]
    for folder, one in zip(folders, found, strict=True):
        if one.probabilities.shape != first.probabilities.shape or not np.array_equal(
            one.truth, first.truth
        ):
            raise ArtefactError(
                f"{folder.name} classified other photos or classes than {folders[0].name}"
            )
    stack = np.stack([one.probabilities for one in found[: len(found) - how.prior]])
    made = blend_members(stack)
    if how.evolve:
        made, _ = cross_halves(
            stack, first.truth, np.arange(len(first.truth)).astype(str), seed, how.evolve
        )
    if how.prior:
        made = with_prior(made, found[-1].probabilities, _place_prior(cfg))
    return Classified(made, first.truth, first.counts)


def _place_prior(cfg: Any) -> np.ndarray:
    """bool [Q]: the test photos whose place is known."""
    name = cfg.DATASETS.TESTS[0]
    queries: Sequence[Item] = select_split(resolve(name, cfg), "query", name)
    places = geolocations_of(queries)
    return np.zeros(len(queries), bool) if places is None else ~np.isnan(places[:, 0])


def describe_blend(how: Blend | None, members: Mapping[str, float]) -> dict[str, Any]:
    """What ablation.json says of an ensemble or a blend."""
    if how is None:
        return dict(members)
    names = list(members)
    return {
        "of": names[:-1] if how.prior else names,
        "evolve": how.evolve,
        "prior": names[-1] if how.prior else "",
    }
