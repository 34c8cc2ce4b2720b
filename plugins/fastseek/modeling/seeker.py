"""Seeker, our one meta-architecture: a backbone, branches and losses, none of them known by
name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import nn

from .. import compat  # noqa: F401  (before anything that imports fastreid)
from ..errors import UsageError
from ..registry import BACKBONES, BLOCKS, BRANCHES, LOSSES, build, parse
from .layers.class_shard import exclude_from_averaging
from .layers.classes import UNKNOWN, class_counts
from .layers.part_protocols import (
    Backbone,
    Branch,
    Classifier,
    Loss,
    ReportsAccuracy,
    call_loss,
    tested_name,
)
from .layers.trainer_contract import TrainerContract

from fastreid.config import CfgNode
from fastreid.modeling.backbones import build_backbone
from fastreid.modeling.meta_arch import META_ARCH_REGISTRY
from fastreid.utils.events import get_event_storage

ACCURACY_EVERY = 20


@META_ARCH_REGISTRY.register()
class Seeker(nn.Module):
    """Images to feature maps, maps to named embeddings, embeddings to losses.

    In training it returns a dict of scalars, every loss under its own name: "loss_triplet", or
    "loss_triplet/dolg" when triplet stands twice in SEEK.LOSSES. In evaluation it returns float32
    [B, D]: the embedding of the one branch, or the embeddings of all branches, each brought to
    length 1, side by side in the order of SEEK.BRANCHES.

    A batch may hold more than its images: "places" float32 [B, 4] (see `structures.geolocation`)
    reach the branches as maps["places"], the maps of "crops" [B, 3, H, W], a second image cut from
    every image, as maps["crops"].

    Args:
        cfg: a fast-reid CfgNode. SEEK.BACKBONE ("" takes fast-reid's own backbone as map "s4" with
            MODEL.BACKBONE.FEAT_DIM channels), SEEK.BLOCKS, SEEK.BRANCHES, SEEK.LOSSES,
            SEEK.CLASSES, SEEK.CHANNELS_LAST, MODEL.HEADS.NUM_CLASSES, MODEL.PIXEL_MEAN and PIXEL_STD (0..255 scale).
            Without classes no losses are built.

    Raises:
        UsageError: a call string that cannot be built, no branch, or two parts with one name.
    """

    pixel_mean: torch.Tensor
    pixel_std: torch.Tensor

    def __init__(self, cfg: CfgNode) -> None:
        super().__init__()
        self.backbone = _build_backbone(cfg)
        self.layout = torch.channels_last if cfg.SEEK.CHANNELS_LAST else torch.preserve_format
        self.backbone.to(memory_format=self.layout)
        backbone: Backbone = self.backbone
        self.branches = _build_branches(cfg.SEEK.BRANCHES, backbone.channels)
        counts = class_counts(cfg.SEEK.CLASSES, cfg.MODEL.HEADS.NUM_CLASSES)
        dims = {name: dim for _, branch in self._each_branch() for name, dim in branch.dims.items()}
        self.losses = _build_losses(
            [] if counts is None else cfg.SEEK.LOSSES, dims=dims, counts=counts
        )
        exclude_from_averaging(self)  # whoever wraps it
        self.contract = TrainerContract(cfg)
        self.why_not_trained = (
            UNKNOWN if counts is None else "SEEK.LOSSES is empty: nothing to train with"
        )
        self.register_buffer(
            "pixel_mean", torch.tensor(cfg.MODEL.PIXEL_MEAN).float().view(1, -1, 1, 1), False
        )
        self.register_buffer(
            "pixel_std", torch.tensor(cfg.MODEL.PIXEL_STD).float().view(1, -1, 1, 1), False
        )

    def class_weight_names(self) -> Sequence[str]:
        """The losses hold all that depends on the classes, see `modeling.class_weights`."""
        return ("losses",)

    @property
    def device(self) -> torch.device:
        """Where the model is, and where its inputs go."""
        return self.pixel_mean.device

    @property
    def dim(self) -> int:
        """D of what evaluation returns."""
        return sum(branch.dims[tested_name(branch, name)] for name, branch in self._each_branch())

    def forward(
        self, batch: Mapping[str, Any] | torch.Tensor
    ) -> dict[str, torch.Tensor] | torch.Tensor:
        """A batch dict (or its images alone) to losses in training, to [B, D] in evaluation.

        Args:
            batch: "images" float [B, 3, H, W], RGB, 0..255, and in training "targets" int64 [B];
                neither is changed. "crops" and "places" may stand beside them.

        Raises:
            UsageError: training without losses, or without targets; or under a trainer or a loader
                that passes over what the recipe asks for.
        """
        if self.training and not self.losses:
            raise UsageError(self.why_not_trained)
        if not self.training:
            self.contract.check_evaluation(batch)
        elif torch.is_grad_enabled():  # fast-reid's pass for exact BN statistics is no step
            self.contract.check_training(self, batch)
        embeddings = self.named_embeddings(batch)
        if self.training:
            if isinstance(batch, torch.Tensor):
                raise UsageError('training wants a batch dict with "targets" beside its images')
            return self.cost(embeddings, batch["targets"], batch.get("ids"))
        own = [
            embeddings[tested_name(branch, name)].float() for name, branch in self._each_branch()
        ]
        return own[0] if len(own) == 1 else torch.cat([F.normalize(one) for one in own], dim=1)

    def logits(self, images: Mapping[str, Any] | torch.Tensor) -> torch.Tensor:
        """Class scores [B, C] float32 by the first loss that classifies.

        Args:
            images: [B, 3, H, W] of 0..255, or a batch dict with them, see `forward`.

        Raises:
            UsageError: no loss of the model has a classifier, or it was built without classes.
        """
        for loss in self.losses.values():
            if isinstance(loss, Classifier):
                return loss.logits(self.named_embeddings(images)[loss.on])
        raise UsageError(
            "the model cannot classify: it has no loss with a classifier (cross_entropy, "
            "subcenter_arcface …), or its classes are unknown (classes.json beside the weights)"
        )

    def named_embeddings(self, batch: Mapping[str, Any] | torch.Tensor) -> dict[str, torch.Tensor]:
        """All named embeddings of a batch dict, or of its images alone; see `forward`."""
        if isinstance(batch, torch.Tensor):
            return self.embed(self.preprocess(batch))
        crops, places = batch.get("crops"), batch.get("places")
        return self.embed(
            self.preprocess(batch["images"]),
            None if crops is None else self.preprocess(crops),
            None if places is None else places.to(self.device, non_blocking=True),
        )

    def preprocess(self, images: torch.Tensor) -> torch.Tensor:
        """Bring images [B, 3, H, W] of 0..255 to the model's device and normalise them, out of
        place.
        """
        there = images.to(self.device, non_blocking=True)
        normalized: torch.Tensor = (there - self.pixel_mean) / self.pixel_std
        return normalized.to(memory_format=self.layout)

    def embed(
        self,
        images: torch.Tensor,
        crops: torch.Tensor | None = None,
        places: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        """All named embeddings of normalised images, perhaps with crops of the same shape and
        places [B, 4].
        """
        if crops is None:
            maps: dict[str, Any] = dict(self.backbone(images))
        else:  # together, so that BatchNorm sees both in training as in evaluation
            both = self.backbone(torch.cat([images, crops]))
            maps = {name: one[: len(images)] for name, one in both.items()}
            maps["crops"] = {name: one[len(images) :] for name, one in both.items()}
        if places is not None:
            maps["places"] = places
        return {
            name: value for _, branch in self._each_branch() for name, value in branch(maps).items()
        }

    def cost(
        self,
        embeddings: Mapping[str, torch.Tensor],
        targets: torch.Tensor,
        ids: Sequence[str] | None = None,
    ) -> dict[str, torch.Tensor]:
        """Every loss under its own name; `ids` are those of the images."""
        targets = targets.to(self.device, non_blocking=True)
        # fast-reid's PreciseBN fills the targets with -1 because it wants the statistics only.
        targets = torch.where((targets < 0).all(), torch.zeros_like(targets), targets)
        found = {
            f"loss_{name}": call_loss(loss, embeddings[loss.on], targets, ids)
            for name, loss in self._each_loss()
        }
        self._log_accuracy()
        return found

    def _log_accuracy(self) -> None:
        try:
            storage = get_event_storage()
        except AssertionError:
            return  # no trainer around
        if storage.iter % ACCURACY_EVERY:
            return  # reading a figure waits for the device
        for name, loss in self.losses.items():
            if isinstance(loss, ReportsAccuracy) and loss.accuracy is not None:
                storage.put_scalar(f"accuracy_{name}", float(loss.accuracy))

    # ModuleDict knows its members as modules only; what they are, the builders below have checked.
    def _each_branch(self) -> Iterator[tuple[str, Branch]]:
        for name, branch in self.branches.items():
            yield name, cast(Branch, branch)

    def _each_loss(self) -> Iterator[tuple[str, Loss]]:
        for name, loss in self.losses.items():
            yield name, cast(Loss, loss)


class StockBackbone(nn.Module):
    """fast-reid's own backbone (MODEL.BACKBONE) as one of ours: its one map is "s4"."""

    def __init__(self, cfg: CfgNode) -> None:
        super().__init__()
        self.net = build_backbone(cfg)
        self.channels = {"s4": cfg.MODEL.BACKBONE.FEAT_DIM}

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """Normalized [B, 3, H, W] -> {"s4": [B, C, h, w]}."""
        return {"s4": self.net(images)}


def _build_backbone(cfg: CfgNode) -> Any:
    """The backbone of a recipe, with its blocks."""
    backbone = build(cfg.SEEK.BACKBONE, BACKBONES) if cfg.SEEK.BACKBONE else StockBackbone(cfg)
    for call in cfg.SEEK.BLOCKS:
        block = build(call, BLOCKS)
        try:
            backbone = block(backbone)
        except ValueError as error:
            raise UsageError(f"{call!r}: {error}") from error
    return backbone


def _build_branches(calls: Iterable[str], channels: Mapping[str, int]) -> nn.ModuleDict:
    built = [(parse(call)[0], build(call, BRANCHES, channels=channels)) for call in calls]
    if not built:
        raise UsageError(
            'SEEK.BRANCHES is empty: Seeker needs at least one, such as "gem(dim=512)"'
        )
    names = Counter(name for _, branch in built for name in branch.dims)
    _once(names, "SEEK.BRANCHES gives two embeddings called")
    return nn.ModuleDict(dict(built))


def _build_losses(calls: Iterable[str], **runtime: Any) -> nn.ModuleDict:
    built = [(parse(call)[0], build(call, LOSSES, **runtime)) for call in calls]
    uses = Counter(name for name, _ in built)
    named = [(name if uses[name] == 1 else f"{name}/{loss.on}", loss) for name, loss in built]
    _once(Counter(name for name, _ in named), "SEEK.LOSSES has two of")
    return nn.ModuleDict(dict(named))


def _once(names: Counter[str], problem: str) -> None:
    twice = [name for name, times in names.items() if times > 1]
    if twice:
        raise UsageError(f"{problem} {', '.join(twice)}: names must differ")
