"""Place and date as numbers a network can take."""

from __future__ import annotations

import math

import torch
from torch import nn

ENCODINGS = {"sphere": 3, "wrap": 4}


class GeoEncoding(nn.Module):
    """Latitude, longitude and date to an encoding without gaps; what is missing becomes a trained
    vector.

    "sphere" is the place as a point on the unit sphere, so neither the date line nor a pole is an
    edge, then sine and cosine of the date. "wrap" is the usual sine and cosine of longitude/180 and
    latitude/90 (Mac Aodha et al., Presence-Only Geographical Priors, ICCV 2019): there the two
    poles are one, and the places along a pole are many.

    Args:
        encoding: "sphere" (5 numbers) or "wrap" (6).
        uncertainty: a place known less exactly than so many metres counts as missing; its date
            stays.

    Raises:
        ValueError: another encoding, or an uncertainty that is not positive.
    """

    def __init__(self, encoding: str = "sphere", uncertainty: float = 10000.0) -> None:
        super().__init__()
        if encoding not in ENCODINGS:
            raise ValueError(f"encoding must be one of {', '.join(ENCODINGS)}, got {encoding!r}")
        if not uncertainty > 0:
            raise ValueError(f"uncertainty must be a positive number of metres, got {uncertainty}")
        self.encoding, self.uncertainty, self.dim = encoding, uncertainty, ENCODINGS[encoding] + 2
        self.no_place = nn.Parameter(torch.zeros(ENCODINGS[encoding]))
        self.no_date = nn.Parameter(torch.zeros(2))

    def forward(self, places: torch.Tensor) -> torch.Tensor:
        """[B, 4] of degrees, degrees, share of the year and metres, NaN where unknown -> float32
        [B, dim].
        """
        lat, lon, date, metres = places.float().unbind(1)
        placed = ~(lat.isnan() | lon.isnan() | (metres > self.uncertainty))
        dated = ~date.isnan()
        # the unknown is put aside before any sine: the gradient of where() at a NaN would be NaN on
        # both sides
        lat, lon = (torch.where(placed, side, 0.0).deg2rad() for side in (lat, lon))
        turn = 2 * math.pi * torch.where(dated, date, 0.0)
        where = torch.where(placed[:, None], self._where(lat, lon), self.no_place.float())
        when = torch.where(
            dated[:, None], torch.stack([turn.sin(), turn.cos()], dim=1), self.no_date.float()
        )
        return torch.cat([where, when], dim=1)

    def _where(self, lat: torch.Tensor, lon: torch.Tensor) -> torch.Tensor:
        if self.encoding == "sphere":
            return torch.stack([lat.cos() * lon.cos(), lat.cos() * lon.sin(), lat.sin()], dim=1)
        return torch.stack([lon.sin(), (2 * lat).sin(), lon.cos(), (2 * lat).cos()], dim=1)


class GeoNet(nn.Module):
    """Places to features: a linear layer with ReLU, then residual blocks (Mac Aodha et al., ICCV
    2019).

    Args:
        places: encodes them.
        hidden: width.
        blocks: how many residual blocks: linear, ReLU, dropout, linear, ReLU, added to what came
            in.
        dropout: inside the blocks.
    """

    def __init__(
        self, places: GeoEncoding, hidden: int = 256, blocks: int = 4, dropout: float = 0.5
    ) -> None:
        super().__init__()
        self.places = places
        self.first = nn.Sequential(nn.Linear(places.dim, hidden), nn.ReLU())
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Linear(hidden, hidden),
                nn.ReLU(),
                nn.Dropout(dropout),
                nn.Linear(hidden, hidden),
                nn.ReLU(),
            )
            for _ in range(blocks)
        )

    def forward(self, places: torch.Tensor) -> torch.Tensor:
        """[B, 4] -> float32 [B, hidden]."""
        features = self.first(self.places(places))
        for block in self.blocks:
            features = features + block(features)
        return features
