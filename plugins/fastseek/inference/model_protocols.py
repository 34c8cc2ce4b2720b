"""What inference wants of a model, as types.

A model need not derive from any of these: a plugin's module that has the members fits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, cast, runtime_checkable

import torch
from torch import nn

from ..distributed.process_group import inner
from ..errors import UsageError
from ..modeling.layers.part_protocols import Backbone, Branch
from ..views._embedding import Seen


@runtime_checkable
class ClassifierModel(Protocol):
    """A model that classifies."""

    def logits(self, images: Seen) -> torch.Tensor:
        """Images [B, 3, H, W], or a batch dict with them, -> class scores [B, C]."""


@runtime_checkable
class Preprocesses(Protocol):
    """A model that makes its backbone's input itself."""

    def preprocess(self, images: torch.Tensor) -> torch.Tensor:
        """Images of 0..255 -> what the backbone takes, on the model's device."""


class MapModel(Preprocesses, Protocol):
    """A model whose backbone can be asked for its maps."""

    @property
    def backbone(self) -> Backbone:
        """Images to named maps."""


class BranchModel(MapModel, Protocol):
    """A model that pools its maps in branches."""

    @property
    def branches(self) -> Mapping[str, Branch]:
        """The branches by name."""


def as_classifier(model: nn.Module) -> ClassifierModel:
    """The model itself, known to classify.

    Raises:
        UsageError: it cannot.
    """
    plain = inner(model)
    if not isinstance(plain, ClassifierModel):
        raise UsageError(
            f"{type(plain).__name__} cannot classify: MODEL.META_ARCHITECTURE must be Seeker"
        )
    return plain


def as_map_model(model: nn.Module, what: str) -> BranchModel:
    """The model itself, known to give maps.

    Args:
        model: perhaps wrapped for several processes.
        what: what wants the maps; errors begin with it.

    Raises:
        UsageError: it gives none.
    """
    plain = inner(model)
    if not isinstance(plain, Preprocesses):
        raise UsageError(
            f"{what}: feature maps are those of META_ARCHITECTURE Seeker, not of"
            f" {type(plain).__name__}"
        )
    # Submodules are no plain attributes, so isinstance cannot see them on every Python.
    return cast(BranchModel, plain)
