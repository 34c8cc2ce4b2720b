"""Angular margins: one for every class, added to the angle between an embedding and its own
class.
"""

from __future__ import annotations

import math

import torch

from ...registry import parse


def margins(spec: float | str, counts: torch.Tensor) -> torch.Tensor:
    """The margin of every class in radians.

    Args:
        spec: a number for all, or "dynamic(low, high)" (see `dynamic_margins`).
        counts: int64 [C], training images of every class.

    Returns:
        float32 [C].

    Raises:
        ValueError: neither a number in [0, pi/2) nor "dynamic(…)".
        UsageError: the text is no call string.
    """
    if not isinstance(spec, str):
        _check(spec)
        return torch.full((len(counts),), float(spec))
    name, args, kwargs = parse(spec)
    if name != "dynamic":
        raise ValueError(f"margin must be a number or 'dynamic(low, high)', got {spec!r}")
    try:
        return dynamic_margins(counts, *args, **kwargs)
    except TypeError as error:
        raise ValueError(f"margin {spec!r}: dynamic takes (low, high, power=0.25)") from error


def dynamic_margins(
    counts: torch.Tensor, low: float, high: float, power: float = 0.25
) -> torch.Tensor:
    """Rare classes get larger margins: `low` for the largest class, `high` for the smallest,
    n^-power between.

    Ha et al., Google Landmark Recognition 2020, 3rd place (arXiv 2010.05350); power 1/4 as in the
    2021 winners' code. A class without images gets the margin of the smallest that has some. When
    all have the same number, all get the middle of low and high.

    Args:
        counts: int64 [C], training images of every class, by class index.
        low: margin of the largest class, radians.
        high: margin of the smallest.
        power: how fast the margin falls.

    Returns:
        float32 [C].

    Raises:
        ValueError: no class has an image, or the margins are not 0 <= low <= high < pi/2.
    """
    _check(low)
    _check(high)
    if low > high:
        raise ValueError(f"the low margin {low} is above the high one {high}")
    counts = torch.as_tensor(counts).double()
    if not (counts > 0).any():
        raise ValueError(
            "dynamic margins need the number of images of every class (SEEK.CLASSES), and none is"
            " known"
        )
    smallest = counts[counts > 0].min()
    rarity = counts.clamp(min=smallest).pow(-power)
    span = rarity.max() - rarity.min()
    share = (rarity - rarity.min()) / span if span > 0 else torch.full_like(rarity, 0.5)
    return (low + (high - low) * share).float()


def add_margin(cosine: torch.Tensor, targets: torch.Tensor, margin: torch.Tensor) -> torch.Tensor:
    """Replace the cosine of every row's own class by the cosine of the angle plus the class's
    margin.

    Only the target entries are touched, so that no other class can spoil the gradient. Beyond pi -
    m, where the angle plus m would leave [0, pi], the cosine is lowered by m sin m instead: the
    penalty stays monotone. Deng et al., ArcFace, 2019.

    Args:
        cosine: float [B, C]; may exceed [-1, 1] by rounding.
        targets: int64 [B].
        margin: [C], radians.

    Returns:
        [B, C]; finite in value and gradient wherever `cosine` is.
    """
    column = targets.unsqueeze(1)
    own = cosine.gather(1, column)
    return cosine.scatter(1, column, penalize(own, margin.to(own.dtype)[column]))


def penalize(own: torch.Tensor, angle: torch.Tensor) -> torch.Tensor:
    """The cosines of the own classes, lowered by their margins, as `add_margin` says.

    Args:
        own: float, any shape; may exceed [-1, 1] by rounding.
        angle: the margins in radians, same shape.
    """
    own = own.clamp(-1, 1)
    sine = (1 - own.square()).clamp(min=1e-12).sqrt()
    moved = own * angle.cos() - sine * angle.sin()
    beyond = own - angle * (math.pi - angle).sin()
    return torch.where(own > (math.pi - angle).cos(), moved, beyond)


def _check(margin: float) -> None:
    if (
        isinstance(margin, bool)
        or not isinstance(margin, int | float)
        or not 0 <= margin < math.pi / 2
    ):
        raise ValueError(f"a margin is an angle in [0, pi/2) radians, got {margin!r}")
