import pytest
import torch

from fastseek import compat  # noqa: F401
from fastseek.errors import UsageError
from fastseek.modeling.backbones.build_timm_backbone import build_timm_backbone

from fastreid.modeling.backbones import BACKBONE_REGISTRY


def test_fast_reid_finds_it_and_gets_the_deepest_map(config):
    cfg = config("MODEL.BACKBONE.FEAT_DIM", 64, "MODEL.BACKBONE.NAME", "build_timm_backbone")
    net = BACKBONE_REGISTRY.get("build_timm_backbone")(cfg)
    assert net(torch.randn(2, 3, 64, 32)).shape == (2, 64, 2, 1)


def test_a_wrong_feat_dim_tells_the_right_one(config):
    with pytest.raises(UsageError, match="64 channels.*FEAT_DIM"):
        build_timm_backbone(config("MODEL.BACKBONE.FEAT_DIM", 2048))


def test_an_empty_recipe_tells_what_to_write(config):
    with pytest.raises(UsageError, match="SEEK.BACKBONE"):
        build_timm_backbone(config("SEEK.BACKBONE", ""))
