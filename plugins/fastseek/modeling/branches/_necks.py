"""What stands between a pooled feature and the embedding."""

from __future__ import annotations

from torch import nn

KINDS = ("fc", "fc_bn_prelu", "fc_swish")


def check_dim(dim: int, least: int = 1) -> int:
    """The dimension as it is.

    Raises:
        ValueError: it is less than `least`, 0 where no layer is a choice.
    """
    if dim < least:
        raise ValueError(f"dim must be {least} or more, got {dim}")
    return dim


def reduce_to(channels: int, dim: int, bias: bool = True) -> nn.Module:
    """A linear layer [B, channels] to [B, dim]; with dim 0 nothing.

    Raises:
        ValueError: a negative dimension.
    """
    return nn.Linear(channels, dim, bias) if check_dim(dim, 0) else nn.Identity()


def neck(channels: int, dim: int, kind: str) -> nn.Module:
    """[B, channels] to [B, dim].

    Args:
        channels: of the feature.
        dim: D of the embedding.
        kind: "fc", a linear layer with bias; "fc_bn_prelu", then BatchNorm and PReLU with one
            weight (the 2021 landmark winners' "option-D"); "fc_swish", then Swish (3rd place in the
            2020 contest).

    Raises:
        ValueError: another kind, or a dimension below 1.
    """
    if kind not in KINDS:
        raise ValueError(
            f"neck must be {', '.join(map(repr, KINDS[:-1]))} or {KINDS[-1]!r}, got {kind!r}"
        )
    linear = nn.Linear(channels, check_dim(dim))
    behind = {"fc": (), "fc_bn_prelu": (nn.BatchNorm1d(dim), nn.PReLU()), "fc_swish": (nn.SiLU(),)}[
        kind
    ]
    return nn.Sequential(linear, *behind) if behind else linear
