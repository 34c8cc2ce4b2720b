"""Model + images -> feature maps, and parts of feature maps -> embeddings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from ..data.builders import build_test_loader
from ..data.loaders import tell_images
from ..data.rejects import Reject
from ..modeling.layers.part_protocols import tested_name
from ..regions.attention import Box, rescale_map
from ..structures import Item
from .embedding import evaluating
from .model_protocols import as_map_model

Maps = Mapping[str, torch.Tensor]


def maps_of(
    cfg: Any,
    model: nn.Module,
    items: Sequence[Item],
    what: str = "maps",
    rejects: list[Reject] | None = None,
) -> Iterator[tuple[list[str], Maps]]:
    """Yield (ids, maps name -> [B, C, h, w]) batch by batch, in item order, on the model's device.

    Images that cannot be read are left out, as the loader does.

    Args:
        cfg: the recipe; SEEK.TEST says how images become tensors. Views are not used.
        model: a Seeker.
        items: the images.
        what: shown beside the progress.
        rejects: gets what is known of the images that cannot be read.

    Raises:
        UsageError: the model is of another architecture.
    """
    seeker = as_map_model(model, what)
    loader = build_test_loader(cfg, items)
    with evaluating(model):
        for batch in tell_images(loader, what):
            if rejects is not None:
                rejects.extend(batch["rejects"])
            if batch["ids"]:
                yield batch["ids"], seeker.backbone(seeker.preprocess(batch["images"]))


def embed_part(
    model: nn.Module, maps: Mapping[str, torch.Tensor], row: int, box: Box, on: str
) -> torch.Tensor:
    """The embedding of a part of an image, cut out of its feature maps: the network runs no second
    time.

    Every map is cut at the same part of the image and goes through the branches as a whole map
    would (pooling, neck, embedding), so that it can be compared with embeddings of whole images.

    Args:
        model: a Seeker in evaluation.
        maps: of a batch.
        row: which image of it.
        box: on the grid of map `on`.
        on: a map's name.

    Returns:
        float32 [D], of length 1.
    """
    seeker = as_map_model(model, "parts of images")
    grid = _size_of(maps[on])
    parts = {}
    for name, one in maps.items():
        top, left, bottom, right = rescale_map(box, grid, _size_of(one))
        parts[name] = one[row : row + 1, :, top:bottom, left:right]
    with evaluating(model):
        named = {
            name: value
            for branch in seeker.branches.values()
            for name, value in branch(parts).items()
        }
        own = [
            F.normalize(named[tested_name(branch, name)].float())
            for name, branch in seeker.branches.items()
        ]
        return F.normalize(torch.cat(own, dim=1))[0]


def _size_of(maps: torch.Tensor) -> tuple[int, int]:
    height, width = maps.shape[2:]
    return height, width
