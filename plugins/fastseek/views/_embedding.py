"""Several views, one embedding."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
import torch.nn.functional as F

View = Callable[[torch.Tensor], list[torch.Tensor]]
Seen = torch.Tensor | Mapping[str, Any]
PICTURES = ("images", "crops")


def all_views(images: Seen, views: Iterable[View]) -> list[Seen]:
    """The given batch and every combination of the views: `hflip` and two further scales make six.

    Of a dict its "images" and "crops" are looked at in the same views, and what else is in it stays
    beside each.
    """
    if isinstance(images, Mapping):
        names, views = [name for name in PICTURES if name in images], list(views)
        seen = zip(*(all_views(images[name], views) for name in names), strict=True)
        return [{**images, **dict(zip(names, pictures, strict=True))} for pictures in seen]
    batches = [images]
    for view in views:
        batches = [seen for batch in batches for seen in view(batch)]
    return batches


def embed_views(
    model: Callable[[Seen], torch.Tensor], images: Seen, views: Iterable[View] = ()
) -> torch.Tensor:
    """The direction of the mean of the unit embeddings of all views.

    Where a view asks for it (`pool = "max"`), it is the direction of their largest values instead,
    dimension by dimension (scale GeM with an infinite exponent: SuperGlobal, Shao et al., ICCV
    2023). With a view that is `raw` the embeddings are joined as they are, so longer ones count for
    more.

    Args:
        model: a batch of images, or a dict with them, to [B, D].
        images: [B, 3, H, W], or a dict whose "images" they are, see `all_views`; not changed.
        views: members of VIEWS, built; their lists are multiplied with one another.

    Returns:
        float32 [B, D], every row of length 1.
    """
    views = list(views)
    join = (
        torch.maximum
        if any(getattr(view, "pool", "mean") == "max" for view in views)
        else torch.add
    )
    raw = any(getattr(view, "raw", False) for view in views)
    total: torch.Tensor | None = None
    for batch in all_views(images, views):
        found = model(batch).float() if raw else F.normalize(model(batch).float())
        total = found if total is None else join(total, found)
    return F.normalize(total)
