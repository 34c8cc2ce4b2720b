"""Model + photos -> feature maps, and parts of feature maps -> embeddings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from ..data.builders import build_test_loader
from ..distributed.process_group import inner
from ..errors import UsageError
from ..progress import progress
from ..regions.attention import Box, rescale_map
from ..structures import Item
from .embedding import evaluating

Maps = dict[str, torch.Tensor]


def maps_of(
    cfg: Any, model: nn.Module, items: Sequence[Item], what: str = "maps"
) -> Iterator[tuple[list[str], Maps]]:
    """Yield (ids, maps name -> [B, C, h, w]) batch by batch, in item order, on the model's device.

    Photos that cannot be read are left out, as the loader does.

    Args:
        cfg: the recipe; SEEK.TEST says how photos become tensors. Views are not used.
        model: a Seeker.
        items: the photos.
        what: shown beside the progress.

    Raises:
        UsageError: the model is of another architecture.
    """
    seeker = inner(model)
    if not hasattr(seeker, "branches"):
        raise UsageError(
            f"feature maps are those of META_ARCHITECTURE Seeker, not of {type(seeker).__name__}"
        )
    loader = build_test_loader(cfg, items)
    with evaluating(model):
        for batch in progress(loader, what):
            if batch["ids"]:
                yield batch["ids"], seeker.backbone(seeker.preprocess(batch["images"]))


def embed_part(
    model: nn.Module, maps: Mapping[str, torch.Tensor], row: int, box: Box, on: str
) -> torch.Tensor:
    """The embedding of a part of a photo, cut out of its feature maps: the network runs no second
    time.

    Every map is cut at the same part of the photo and goes through the branches as a whole map
    would (pooling, neck, embedding), so that it can be compared with embeddings of whole photos.

    Args:
        model: a Seeker in evaluation.
        maps: of a batch.
        row: which photo of it.
        box: on the grid of map `on`.
        on: a map's name.

    Returns:
        float32 [D], of length 1.
    """
    seeker = inner(model)
    grid = tuple(maps[on].shape[2:])
    parts = {}
    for name, one in maps.items():
        top, left, bottom, right = rescale_map(box, grid, tuple(one.shape[2:]))
        parts[name] = one[row : row + 1, :, top:bottom, left:right]
    with evaluating(model):
        named = {
            name: value
            for branch in seeker.branches.values()
            for name, value in branch(parts).items()
        }
        own = [F.normalize(named[name].float()) for name in seeker.branches]
        return F.normalize(torch.cat(own, dim=1))[0]
