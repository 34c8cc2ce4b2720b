"""DOLG: a global feature and the attended local features that stand orthogonal to it, in one
embedding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from ...registry import BRANCHES, pick
from ..layers.atrous import MultiAtrous
from ..layers.attention import LocalAttention
from ..layers.gem import Gem
from ..layers.orthogonal import FUSIONS, orthogonal
from ._necks import neck as make_neck


@BRANCHES.register()
class Dolg(nn.Module):
    """Deep orthogonal fusion of local and global features (Yang et al., ICCV 2021; arXiv
    2108.02927).

    The defaults are the form that won the 2021 Google Landmark contests on EfficientNets, with a
    true projection (arXiv 2110.03786). The paper's own ResNet form is `dolg(dilations=(6, 12, 18),
    pointwise=True, image_pool=True, project='after', neck='fc')`.

    Args:
        local: the map of the local branch, one stage before the deepest.
        global_: the map of the global branch.
        hidden: channels in which the two branches meet.
        atrous: channels of every multi-atrous convolution.
        dim: D of the embedding.
        dilations: of the 3x3 convolutions; () without pointwise and image_pool leaves multi-atrous
            out.
        pointwise: multi-atrous has a 1x1 convolution too.
        image_pool: multi-atrous has the mean of the map too.
        project: "before" GeM: 1x1 convolution, BatchNorm, SiLU, then GeM; "after" GeM: one linear
            layer.
        p: GeM's exponent.
        trainable_p: whether it is trained.
        fusion: "squared" or "legacy_single_norm", see `layers.orthogonal`.
        neck: "fc_bn_prelu", "fc" or "fc_swish", see `necks`.
        channels: map name -> channels, of the backbone.

    Raises:
        ValueError: a map the backbone does not give, or an unknown choice.

    Source: Yang et al., DOLG: Single-Stage Image Retrieval with Deep Orthogonal Fusion of Local and
        Global Features, ICCV 2021 (arXiv 2108.02927)
    Example: dolg(local='s3', global_='s4', dilations=(6, 12, 18))
    """

    def __init__(
        self,
        local: str = "s3",
        global_: str = "s4",
        hidden: int = 1024,
        atrous: int = 512,
        dim: int = 512,
        dilations: Sequence[int] = (3, 6, 9),
        pointwise: bool = False,
        image_pool: bool = False,
        project: str = "before",
        p: float = 3.0,
        trainable_p: bool = True,
        fusion: str = "squared",
        neck: str = "fc_bn_prelu",
        *,
        channels: Mapping[str, int],
    ) -> None:
        super().__init__()
        if fusion not in FUSIONS:
            raise ValueError(f"fusion must be one of {', '.join(FUSIONS)}, got {fusion!r}")
        self.local, self.whole, self.fusion = local, global_, fusion
        near, deep = (
            pick(channels, local, "map of the backbone"),
            pick(channels, global_, "map of the backbone"),
        )
        self.pool = _global_branch(deep, hidden, project, Gem(p, trainable_p))
        self.atrous: nn.Module = nn.Identity()
        if dilations or pointwise or image_pool:
            self.atrous = MultiAtrous(near, atrous, hidden, dilations, pointwise, image_pool)
            near = hidden
        self.attention = LocalAttention(near, hidden)
        for module in (self.atrous, self.attention):
            module.apply(_initialize)
        self.neck = make_neck(2 * hidden, dim, neck)
        self.dims = {"dolg": dim}

    def forward(self, maps: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Maps [B, C, h, w] -> {"dolg": [B, dim]}."""
        whole = self.pool(maps[self.whole])
        attended, _ = self.attention(self.atrous(maps[self.local]))
        # The projection is linear: the pooled map gives what pooling the orthogonal map would,
        # without that map.
        rest = orthogonal(attended.mean(dim=(2, 3)), whole, self.fusion)
        return {"dolg": self.neck(torch.cat([rest, whole.to(rest.dtype)], dim=1))}


def _global_branch(channels: int, hidden: int, project: str, gem: Gem) -> nn.Sequential:
    if project == "before":
        return nn.Sequential(
            nn.Conv2d(channels, hidden, 1), nn.BatchNorm2d(hidden, eps=1e-3), nn.SiLU(), gem
        )
    if project == "after":
        return nn.Sequential(gem, nn.Linear(channels, hidden))
    raise ValueError(f"project must be 'before' or 'after' (GeM), got {project!r}")


def _initialize(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
