"""A trained model -> one file that embeds images without this package: ONNX, or torch's exported
program.
"""

from __future__ import annotations

import copy
import io
import json
import logging
import pathlib
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from timm.layers.conv2d_same import Conv2dSame
from torch import nn
from torch.export import Dim, ExportedProgram

from ..config import recipe
from ..errors import RunError, UsageError
from ..io.atomic import atomic, check_writable
from ..io.paths import PathLike
from . import embedding
from .embed_images import load_model
from .pretrained.onnx_programs import (
    WRITING,
    OnnxNetwork,
    need_packages,
    open_session,
    write_program,
)
from .settings import embedding_settings

logger = logging.getLogger("fastreid.fastseek")
STEP = 32  # height and width of what is exported for any size are multiples of it,
LEAST = 2  # and so many of it at least: torch treats maps of one position as a case of their own
NEAR = 1e-3  # largest difference from the model that is accepted, in a vector of unit length
Run = Callable[[torch.Tensor], torch.Tensor]


def export(
    config_file: PathLike,
    weights: PathLike,
    out: PathLike,
    size: Sequence[int] = (224, 224),
    opts: Sequence[str] = (),
) -> str:
    """Write the embedding path of a model and check what was written against the model.

    The input "images" is float32 [B, 3, H, W], RGB, 0..255, after the recipe's SEEK.TEST; mean and
    deviation are taken inside. The output "embedding" is what `tools/embed.py` stores when the
    recipe has no views: [B, D], of unit length where the recipe says so. B is free; H and W are
    multiples of 32, from 64 on, where net and `size` allow that, else fixed.

    Args:
        config_file: the recipe the weights were trained with.
        weights: a checkpoint, .safetensors or .pth.
        out: a name that ends in .onnx (needs the extra "export") or .pt2.
        size: height and width of the images it is traced and checked with.
        opts: KEY VALUE changes to the recipe.

    Returns:
        a line telling what was written, for which sizes, and how far it is from the model.

    Raises:
        UsageError: `out` cannot be written or is an input, another ending, packages missing, or
            images of a size that the net refuses.
        RunError: torch cannot export the net, or what came out differs from the model.
    """
    check_writable(out, [config_file, weights])
    making = {".onnx": _onnx, ".pt2": _pt2}.get(pathlib.Path(out).suffix)
    if making is None:
        raise UsageError(f"{out}: name a file that ends in .onnx or .pt2")
    if making is _onnx:
        need_packages(WRITING, "writing ONNX", "write a .pt2 file, which needs torch alone")
    cfg = recipe.load(config_file, [*opts, "MODEL.DEVICE", "cpu"])
    inner = load_model(cfg, weights)
    model = Embedder(inner, embedding_settings(cfg).unit_length).eval()
    provenance = json.dumps({**embedding.describe_model(cfg, inner), "views": []}, sort_keys=True)
    with torch.no_grad():
        program, free = trace(model, size)
        content, run = making(program, provenance)
        worst = _difference(model, run, size, free)
    with atomic(out) as file:
        file.write(content)
    multiples = f"any height and width that are multiples of {STEP}, from {LEAST * STEP} on"
    sizes = multiples if free else f"{size[0]} x {size[1]} only"
    return (
        f"{out}: {len(content) / 1e6:.1f} MB, images of {sizes}; largest difference from the model"
        f" {worst:.1e}"
    )


class Embedder(nn.Module):
    """Images [B, 3, H, W] of 0..255 to vectors [B, D].

    Args:
        model: returns [B, D] in evaluation.
        unit: whether the vectors get unit length.
    """

    def __init__(self, model: nn.Module, unit: bool) -> None:
        super().__init__()
        self.model, self.unit = model, unit

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """One view, no test-time augmentation."""
        found = self.model(
            {"images": images.clone()}
        )  # fast-reid's own architectures normalise it in place
        return F.normalize(found) if self.unit else found


def trace(model: nn.Module, size: Sequence[int]) -> tuple[ExportedProgram, bool]:
    """The exported program, and whether height and width are free.

    Raises:
        UsageError: the net refuses images of that size.
        RunError: torch cannot export it.
    """
    images = torch.rand(2, 3, *size) * 255
    model(images)
    batch = Dim("batch", min=1, max=4096)
    if all(side % STEP == 0 and side >= LEAST * STEP for side in size):
        rows, columns = (STEP * Dim(name, min=LEAST, max=256) for name in ("rows", "columns"))
        shape = {0: batch, 2: rows, 3: columns}
        try:
            return (
                torch.export.export(
                    _fixed_padding(model), (images,), dynamic_shapes=(shape,), strict=False
                ),
                True,
            )
        except (RuntimeError, ValueError, AssertionError, UsageError) as error:
            logger.info("height and width stay fixed: %s", str(error).strip().splitlines()[0])
    try:
        return (
            torch.export.export(model, (images,), dynamic_shapes=({0: batch},), strict=False),
            False,
        )
    except (RuntimeError, ValueError, AssertionError) as error:
        raise RunError(f"torch.export cannot export this model: {error}") from error


def _fixed_padding(model: nn.Module) -> nn.Module:
    """A copy whose TensorFlow-like convolutions pad as they do for sizes that their stride divides.

    Their own rule reads the size of every map, which makes symbolic sizes unwieldy; for multiples
    of 32 it is constant.
    """
    model = copy.deepcopy(model)
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if isinstance(child, Conv2dSame):
                setattr(parent, name, _Padded(child))
    return model


class _Padded(nn.Module):
    """One such convolution."""

    def __init__(self, same: Conv2dSame) -> None:
        super().__init__()
        self.same = same
        spare = [
            max(dilation * (kernel - 1) + 1 - stride, 0)
            for kernel, stride, dilation in zip(
                same.kernel_size, same.stride, same.dilation, strict=True
            )
        ]
        self.pad = [part for total in reversed(spare) for part in (total // 2, total - total // 2)]

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """[B, C, h, w] -> [B, out, h / stride, w / stride]."""
        same = self.same
        return F.conv2d(
            F.pad(maps, self.pad),
            same.weight,
            same.bias,
            same.stride,
            0,
            same.dilation,
            same.groups,
        )


def _pt2(program: ExportedProgram, provenance: str) -> tuple[bytes, Run]:
    file = io.BytesIO()
    torch.export.save(program, file, extra_files={"passport.json": provenance})
    file.seek(0)
    return file.getvalue(), torch.export.load(file).module()


def _onnx(program: ExportedProgram, provenance: str) -> tuple[bytes, Run]:
    content = write_program(program, provenance)
    return content, OnnxNetwork(open_session(content))


def _difference(model: nn.Module, run: Run, size: Sequence[int], free: bool) -> float:
    """The largest difference on images of chance, as a share of the longest vector."""
    random = torch.Generator().manual_seed(0)
    shapes = [(1, *size), (3, *size), *([(2, size[0] + STEP, size[1])] if free else [])]
    worst = 0.0
    for rows, height, width in shapes:
        images = torch.rand(rows, 3, height, width, generator=random) * 255
        right = model(images)
        worst = max(worst, float((run(images) - right).abs().max() / right.norm(dim=1).max()))
    if not worst <= NEAR:
        raise RunError(
            f"the exported program differs from the model by {worst:.1e} of a vector's length"
            f" (accepted: {NEAR:.0e}): nothing was written; this is a fault of torch or of a part"
            " of the model"
        )
    return worst
