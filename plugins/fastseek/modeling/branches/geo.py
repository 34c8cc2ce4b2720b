"""The image and the place: two features, added."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from ...registry import BRANCHES, pick
from ..layers.gem import pool as pooling
from ..layers.geo_encoding import GeoEncoding, GeoNet
from ..layers.precision import full_precision
from ._necks import neck as make_neck


@BRANCHES.register()
class Geo(nn.Module):
    """A pooled map and, added to it, what a small network makes of place and date (iNat Challenge
    2021, first place).

    "geo" is the sum, for retrieval and the classifier; "geo/image" the feature of the image;
    "geo/place" that of the place, on which `cross_entropy(on='geo/place')` alone trains a prior of
    place and time. The place's last layer starts at 0, so that training begins with the image
    alone. An image without place and date (batch["places"] is absent or NaN) gets the feature of the
    trained vectors for "unknown", the same for all such images; in training a share of the images
    is treated so, that images without a place work too.

    Not published: the contest's encoding and network. Here: see `layers.geo_encoding`.

    Args:
        on: the map.
        pool: "avg" or "gem" (p trained).
        dim: D.
        hidden: width of the network of places.
        blocks: its residual blocks.
        dropout: inside them.
        drop: share of the images whose place and date are hidden in training.
        uncertainty: a place known less exactly than so many metres counts as missing; its date
            stays.
        encoding: "sphere" or "wrap", see `layers.geo_encoding`.
        neck: of the image's feature, see `necks`.
        p: where GeM's exponent starts.
        channels: map name -> channels, of the backbone.

    Raises:
        ValueError: a map the backbone does not give, an unknown choice, or an illegal number.

    Source: iNat Challenge 2021 (FGVC8), first place
    Example: geo(on='s4', dim=512)
    """

    def __init__(
        self,
        on: str = "s4",
        pool: str = "avg",
        dim: int = 512,
        hidden: int = 256,
        blocks: int = 4,
        dropout: float = 0.5,
        drop: float = 0.2,
        uncertainty: float = 10000.0,
        encoding: str = "sphere",
        neck: str = "fc",
        p: float = 3.0,
        *,
        channels: Mapping[str, int],
    ) -> None:
        super().__init__()
        if not 0 <= dropout < 1 or not 0 <= drop < 1 or blocks < 0 or hidden < 1:
            raise ValueError(
                "dropout and drop must be in [0, 1), blocks not negative and hidden positive, got "
                f"{dropout}, {drop}, {blocks} and {hidden}"
            )
        self.on, self.drop = on, drop
        self.pool = pooling(pool, p)
        self.neck = make_neck(pick(channels, on, "map of the backbone"), dim, neck)
        self.net = GeoNet(GeoEncoding(encoding, uncertainty), hidden, blocks, dropout)
        self.project = nn.Linear(hidden, dim)
        nn.init.zeros_(self.project.weight)
        nn.init.zeros_(self.project.bias)
        self.dims = {"geo": dim, "geo/image": dim, "geo/place": dim}

    def forward(self, maps: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Maps [B, C, h, w], and "places" [B, 4] if known -> the three embeddings [B, D]."""
        image = self.neck(self.pool(maps[self.on]))
        place = self.place(self._places(maps, image))
        return {"geo": image + place, "geo/image": image, "geo/place": place}

    def place(self, places: torch.Tensor) -> torch.Tensor:
        """[B, 4] -> float32 [B, D]; a degree is too fine for half precision."""
        with full_precision(places):
            return self.project(self.net(places))

    def _places(self, maps: Mapping[str, torch.Tensor], image: torch.Tensor) -> torch.Tensor:
        known = maps.get("places")
        if known is None:
            return image.new_full((image.shape[0], 4), torch.nan)
        if not self.training or not self.drop:
            return known
        hidden = torch.rand(len(known), 1, device=known.device) < self.drop
        return torch.where(hidden, torch.nan, known)
