import pytest
import torch

from fastseek.modeling import backbones, blocks  # noqa: F401
from fastseek.registry import BACKBONES, BLOCKS, build

NETS = [
    "resnet18",
    "resnet26d",
    "resnetblur18",
    "resnest14d",
    "regnety_002",
    "densenet121",
    "tf_efficientnet_b0",
    "mobilenetv3_small_050",
    "test_efficientnet",
]


@pytest.mark.parametrize("name", NETS)
def test_the_deepest_map_doubles_and_nothing_else_changes(name):
    """finegrained row 9."""
    plain = build(f"timm({name!r}, stages=(2, 3, 4))", BACKBONES).eval()
    backbone = build(f"timm({name!r}, stages=(2, 3, 4))", BACKBONES).eval()
    backbone = build("last_stride(1)", BLOCKS)(backbone)
    assert list(backbone.state_dict()) == list(plain.state_dict())
    backbone.load_state_dict(plain.state_dict())
    images = torch.randn(1, 3, 128, 64)
    with torch.no_grad():
        before, after = plain(images), backbone(images)
    assert before["s4"].shape[2:] == (4, 2) and after["s4"].shape[2:] == (8, 4)
    assert before["s4"].shape[1] == after["s4"].shape[1]
    assert torch.equal(before["s2"], after["s2"]) and torch.equal(before["s3"], after["s3"])
    assert plain.net.feature_info.reduction() == [
        8,
        16,
        32,
    ] and backbone.net.feature_info.reduction() == [8, 16, 16]


def test_the_map_of_stride_two_is_every_second_place_of_the_map_of_stride_one():
    """Facts 1.1 step 3: only the stride of the first block changes; a stage of one block shows
    it.
    """
    plain, backbone = (build("timm('resnet10t', stages=(4,))", BACKBONES).eval() for _ in range(2))
    backbone.load_state_dict(plain.state_dict())
    backbone = build("last_stride()", BLOCKS)(backbone)
    images = torch.randn(1, 3, 64, 64)
    branch = lambda one, maps: one.net["layer4"][0].bn1(one.net["layer4"][0].conv1(maps))  # noqa: E731
    with torch.no_grad():
        maps = torch.randn(1, 256, 4, 4)
        torch.testing.assert_close(branch(plain, maps), branch(backbone, maps)[:, :, ::2, ::2])
        assert backbone(images)["s4"].shape[2:] == (4, 4)


def test_a_stride_of_two_leaves_the_network_alone():
    backbone = build("timm('resnet18')", BACKBONES)
    assert build("last_stride(2)", BLOCKS)(backbone)(torch.randn(2, 3, 64, 64))["s4"].shape[2:] == (
        2,
        2,
    )


def test_attention_that_stands_in_the_stage_keeps_its_own_strides():
    backbone = build("timm('resnet18')", BACKBONES)
    for call in ("gather_excite('s4', inside=True, kind='theta', extent=2)", "last_stride()"):
        backbone = build(call, BLOCKS)(backbone)
    strides = [
        module.stride
        for name, module in backbone.named_modules()
        if "gather." in name and name.endswith(".0")
    ]
    assert strides and set(strides) == {(2, 2)}


def test_another_stride_is_refused():
    with pytest.raises(Exception, match="stride must be 1 or 2"):
        build("last_stride(3)", BLOCKS)
