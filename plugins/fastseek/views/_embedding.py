"""Several views, one embedding."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol, runtime_checkable

import torch
import torch.nn.functional as F

View = Callable[[torch.Tensor], list[torch.Tensor]]
Seen = torch.Tensor | Mapping[str, Any]
PARTS = ("images", "crops")


@runtime_checkable
class KeepsLengths(Protocol):
    """A view that says whether embeddings are added as they are."""

    @property
    def raw(self) -> bool:
        """If so, a view with longer vectors counts for more."""


@runtime_checkable
class Pools(Protocol):
    """A view that says how the embeddings of all views become one."""

    @property
    def pool(self) -> str:
        """ "mean" or "max"."""


def all_views(images: Seen, views: Iterable[View]) -> list[Seen]:
    """The given batch and every combination of the views: `hflip` and two further scales make six.

    Of a dict its "images" and "crops" are looked at in the same views, and what else is in it stays
    beside each.
    """
    if isinstance(images, Mapping):
        names, views = [name for name in PARTS if name in images], list(views)
        seen = zip(*(all_views(images[name], views) for name in names), strict=True)
        return [{**images, **dict(zip(names, parts, strict=True))} for parts in seen]
    batches = [images]
    for view in views:
        batches = [seen for batch in batches for seen in view(batch)]
    return list(batches)


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
    largest = any(isinstance(view, Pools) and view.pool == "max" for view in views)
    join = torch.maximum if largest else torch.add
    raw = any(isinstance(view, KeepsLengths) and view.raw for view in views)

    def embed(batch: Seen) -> torch.Tensor:
        found = model(batch).float()
        return found if raw else F.normalize(found)

    # One after the other: the embeddings of all views are never held at once.
    return F.normalize(functools.reduce(join, map(embed, all_views(images, views))))
