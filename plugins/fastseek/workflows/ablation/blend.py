"""Steps of an ablation that blend what earlier steps predict, with equal or evolved weights or a
prior.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np

from ...classification.blend import blend_members
from ...classification.evolve import SEARCHES, cross_halves
from ...classification.prior import with_prior
from ...data.fastreid_datasets import resolve
from ...errors import ArtefactError, UsageError
from ...io.spec_reader import Spec
from ...structures import Item, geolocations_of
from ...structures.splits import select_split
from .ensemble import CLASSIFIED, ClassProbabilities

from fastreid.config import CfgNode


@dataclasses.dataclass(frozen=True)
class Blend:
    """How the probabilities of earlier steps become one.

    Args:
        evolve: "de" or "cma", weights for each half of the images evolved on the other; "" for
            equal ones.
        prior: whether the last member is a prior by location that the blend of the others is
            multiplied with, for images whose location is known.
    """

    evolve: str = ""
    prior: bool = False


class BlendSpec(Spec, frozen=True, kw_only=True):
    """A step's BLEND: {OF: [steps], EVOLVE: de or cma, PRIOR: step}."""

    NOUN: ClassVar[str] = "a blend"
    of: str | tuple[str, ...] = ()
    evolve: Literal["de", "cma"] | None = None
    prior: str = ""


def read_blend(spec: BlendSpec, names: Sequence[str], where: str) -> tuple[Blend, tuple[int, ...]]:
    """What a step's BLEND asks for.

    Args:
        spec: as it stands in the file.
        names: of the earlier steps.
        where: file and line, for errors.

    Returns:
        how they are blended, and the numbers of the members, the prior last.

    Raises:
        UsageError: no earlier step of that name, or nothing to do.
    """
    known = {name: number for number, name in enumerate(names)}
    members = (spec.of,) if isinstance(spec.of, str) else spec.of
    wanted = [*members, *([spec.prior] if spec.prior else [])]
    wrong = [name for name in wanted if name not in known]
    if wrong or not members or len(wanted) < 2:
        raise UsageError(
            f"{where}: BLEND must be OF, a list of earlier steps, and EVOLVE"
            f" ({' or '.join(SEARCHES)}), PRIOR (an earlier step), or several"
            f" steps{'; wrong: ' + ', '.join(wrong) if wrong else ''}"
        )
    return Blend(spec.evolve or "", bool(spec.prior)), tuple(known[name] for name in wanted)


def blend(
    how: Blend, folders: Sequence[pathlib.Path], seed: int, cfg: CfgNode
) -> ClassProbabilities:
    """What several answers say together.

    Args:
        how: see `Blend`.
        folders: with classified.npz, of the same images in the same order; the prior's last.
        seed: of the evolution.
        cfg: the step's recipe, whose test images they are.

    Raises:
        ArtefactError: they are of different images or classes.
    """
    found = [ClassProbabilities.load(folder / CLASSIFIED) for folder in folders]
    first = found[0]
    for folder, one in zip(folders, found, strict=True):
        same_shape = one.probabilities.shape == first.probabilities.shape
        if not same_shape or not np.array_equal(one.truth, first.truth):
            raise ArtefactError(
                f"{folder.name} classified other images or classes than {folders[0].name}"
            )
    members = found[:-1] if how.prior else found
    stack = np.stack([one.probabilities for one in members])
    blended = blend_members(stack)
    if how.evolve:
        # The images are split by their numbers: any fixed names give fixed halves.
        ids = np.arange(len(first.truth)).astype(str)
        blended, _ = cross_halves(stack, first.truth, ids, seed, how.evolve)
    if how.prior:
        blended = with_prior(blended, found[-1].probabilities, _has_location(cfg))
    return ClassProbabilities(blended, first.truth, first.counts)


def _has_location(cfg: CfgNode) -> np.ndarray:
    """bool [Q]: the test images whose location is known."""
    name = cfg.DATASETS.TESTS[0]
    items = resolve(name, combine_all=cfg.DATASETS.COMBINEALL)
    queries: Sequence[Item] = select_split(items, "query", name)
    locations = geolocations_of(queries)
    return np.zeros(len(queries), bool) if locations is None else ~np.isnan(locations[:, 0])


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
