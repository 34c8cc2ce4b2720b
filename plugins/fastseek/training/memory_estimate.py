"""How much memory a training takes, from shapes alone: nothing is trained, and no device is
needed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image
from torch import nn

from ..config import recipe
from ..config.edits import on_meta_device
from ..data.builders import build_transforms
from ..errors import UsageError
from ..io.paths import PathLike
from ..io.text_table import align_columns
from ..modeling.build import build_model
from ..modeling.freezing import freeze

STATES = {"SGD": 1, "Adam": 2, "AdamW": 2}  # copies of the weights that an optimizer keeps
GIB, MIB = 2**30, 2**20


@dataclasses.dataclass(frozen=True)
class Memory:
    """Bytes of a training.

    Args:
        size: (height, width) of the images.
        batch: images a batch.
        weights, gradients, states: of the model, without its classifier.
        image: what the backward pass needs of one image and, with SEEK.CROPS, of its crop.
    """

    size: tuple[int, int]
    batch: int
    weights: int
    gradients: int
    states: int
    image: float

    @property
    def fixed(self) -> int:
        """What no batch size changes."""
        return self.weights + self.gradients + self.states

    @property
    def together(self) -> float:
        """All of it."""
        return self.fixed + self.batch * self.image


def memory_of(cfg: Any) -> Memory:
    """Estimate the memory of one training process.

    Counted are the weights, their gradients, the optimizer's copies, and every tensor that autograd
    keeps of a forward pass, each storage once. Not counted are the classifier over the classes, the
    workspace of convolutions, the allocator's rounding, the loader and CUDA itself: leave a tenth
    and a GiB free. With mixed precision kept tensors are taken to be half as large, which is a
    little too few.

    Raises:
        UsageError: the model is no Seeker.
    """
    if cfg.MODEL.META_ARCHITECTURE != "Seeker":
        raise UsageError(
            f"memory is estimated for META_ARCHITECTURE Seeker, not {cfg.MODEL.META_ARCHITECTURE}"
        )
    size = _size(cfg)
    with torch.device("meta"):
        model = build_model(on_meta_device(cfg))
        frozen = freeze(model.train(), cfg.SEEK.FREEZE)
        frozen.apply()
        one, two = (_kept_of_batch(model, count, size, cfg.SEEK.CROPS) for count in (2, 4))
    trained = sum(parameter.nbytes for parameter in model.parameters() if parameter.requires_grad)
    weights = sum(tensor.nbytes for tensor in [*model.parameters(), *model.buffers()])
    image = (two - one) / 2 * (0.5 if cfg.SOLVER.AMP.ENABLED else 1)
    return Memory(
        size,
        cfg.SOLVER.IMS_PER_BATCH,
        weights,
        trained,
        STATES.get(cfg.SOLVER.OPT, 2) * trained,
        image,
    )


def _kept_of_batch(model: nn.Module, count: int, size: tuple[int, int], crops: str) -> int:
    images = torch.empty(count, 3, *size)
    return kept_bytes(model, images, torch.empty_like(images) if crops else None)


def kept_bytes(model: nn.Module, images: torch.Tensor, crops: torch.Tensor | None = None) -> int:
    """Bytes that autograd keeps of a forward pass, each storage once, without the model's own
    tensors.

    Args:
        model: a Seeker, on the images' device, which may be "meta".
        images: normalized, [B, 3, H, W].
        crops: of the same shape, the second image of each where a recipe has SEEK.CROPS.
    """
    own = {tensor.untyped_storage()._cdata for tensor in [*model.parameters(), *model.buffers()]}
    kept: dict[int, torch.Tensor] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage()._cdata not in own:
            kept[tensor.untyped_storage()._cdata] = (
                tensor  # kept alive, so that no other storage gets its number
            )
        return tensor

    embed: Any = model.embed
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        answer = embed(images) if crops is None else embed(images, crops)
    del answer
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


def _size(cfg: Any) -> tuple[int, int]:
    """What the training transforms make of an image."""
    made = build_transforms(cfg, True)(Image.new("RGB", (256, 256)))
    return int(made.shape[1]), int(made.shape[2])


def memory_table(config_file: PathLike, opts: Sequence[str] = (), gib: float = 0.0) -> str:
    """The estimate for a recipe as text.

    Args:
        config_file: the recipe.
        opts: KEY VALUE changes to it.
        gib: memory of a device, for the largest batch it holds; 0 leaves that out.
    """
    found = memory_of(recipe.load(config_file, opts))
    lines = [
        ("weights", f"{found.weights / MIB:,.0f} MiB"),
        ("gradients", f"{found.gradients / MIB:,.0f} MiB"),
        ("optimizer", f"{found.states / MIB:,.0f} MiB"),
        (f"an image of {found.size[0]} x {found.size[1]}", f"{found.image / MIB:,.1f} MiB"),
        (f"together, {found.batch} images a batch", f"{found.together / GIB:,.2f} GiB"),
    ]
    if gib:
        room = 0.9 * (gib - 1) * GIB - found.fixed
        lines.append((f"largest batch in {gib:g} GiB", str(max(0, int(room // found.image)))))
    return align_columns(lines)
