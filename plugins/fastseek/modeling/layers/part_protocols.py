"""What the parts of a model must have, as types: what the registries' contracts say in words.

A part need not derive from any of these: a plugin's module that has the members fits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, cast, runtime_checkable

import torch
from torch import nn


class Backbone(Protocol):
    """Normalized images [B, 3, H, W] to named maps [B, C, h, w]."""

    @property
    def channels(self) -> Mapping[str, int]:
        """Map name -> C."""

    def __call__(self, images: torch.Tensor) -> Mapping[str, torch.Tensor]:
        """The maps by name."""


class Branch(Protocol):
    """Named maps to named embeddings [B, D]."""

    @property
    def dims(self) -> Mapping[str, int]:
        """Embedding name -> D."""

    def __call__(self, maps: Mapping[str, Any]) -> Mapping[str, torch.Tensor]:
        """The embeddings by name."""


@runtime_checkable
class NamesTested(Protocol):
    """A branch that says which of its embeddings is for retrieval."""

    @property
    def tested(self) -> str:
        """The name of that embedding."""


class Loss(Protocol):
    """One embedding [B, D] and targets int64 [B] to a scalar."""

    @property
    def on(self) -> str:
        """The name of the embedding it wants."""

    def __call__(self, embedding: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The loss, its weight applied."""


class LossOfImages(Protocol):
    """A loss that is told which images it sees; its `wants_ids` is True."""

    def __call__(
        self, embedding: torch.Tensor, targets: torch.Tensor, ids: Sequence[str] | None
    ) -> torch.Tensor:
        """The loss; `ids` are those of the items, None where the loader tells none."""


@runtime_checkable
class Classifier(Protocol):
    """A loss whose classifier can be asked."""

    @property
    def on(self) -> str:
        """The name of the embedding it wants."""

    def logits(self, embedding: torch.Tensor) -> torch.Tensor:
        """[B, D] -> [B, C]."""


@runtime_checkable
class ReportsAccuracy(Protocol):
    """A loss that keeps the share of rows it classified right, None before the first batch."""

    @property
    def accuracy(self) -> torch.Tensor | None:
        """A scalar."""


@runtime_checkable
class FollowsSteps(Protocol):
    """A module that behaves by the number of the training step."""

    def at_step(self, step: int) -> None:
        """Called before every training step, from 0."""


@runtime_checkable
class KnowsLength(Protocol):
    """A module that behaves by how far the training is."""

    def start_training(self, steps: int) -> None:
        """Called once before the first step with the number of all steps."""


@runtime_checkable
class ChecksImages(Protocol):
    """A module that wants to know before the training which images it will see."""

    def check_images(self, ids: Sequence[str]) -> None:
        """Called once before the first step; refuses images it cannot work with."""


class Block(Protocol):
    """Puts something into a backbone whose weights are loaded."""

    def __call__(self, backbone: nn.Module) -> nn.Module:
        """The same backbone, changed."""


def tested_name(branch: Branch, otherwise: str) -> str:
    """The embedding of a branch that is for retrieval."""
    return branch.tested if isinstance(branch, NamesTested) else otherwise


def wants_ids(loss: object) -> bool:
    """Whether a loss is called with the ids of the images, too."""
    return bool(getattr(loss, "wants_ids", False))


def call_loss(
    loss: Loss, embedding: torch.Tensor, targets: torch.Tensor, ids: Sequence[str] | None
) -> torch.Tensor:
    """A loss of an embedding [B, D] and targets int64 [B]; the ids go to one that wants them."""
    if wants_ids(loss):
        return cast(LossOfImages, loss)(embedding, targets, ids)
    return loss(embedding, targets)
