import pytest
import torch
from torch import nn

from fastseek.errors import UsageError
from fastseek.modeling import backbones, blocks, seeker  # noqa: F401
from fastseek.modeling.blocks._insertion import channels, hang, modules, residual_blocks, shapes
from fastseek.registry import BACKBONES, BLOCKS, build

from fastreid.modeling.meta_arch import build_model

NETS = [
    "resnet18",
    "resnet26d",
    "resnest14d",
    "regnety_002",
    "tf_efficientnet_b0",
    "mobilenetv3_small_050",
]
IMAGES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def net(name, stages=(3, 4)):
    return build(f"timm({name!r}, stages={stages})", BACKBONES).eval()


class Times(nn.Module):
    """Multiplies, and counts how often it was asked."""

    def __init__(self, factor):
        super().__init__()
        self.factor, self.asked = factor, 0

    def forward(self, maps):
        self.asked += 1
        return self.factor * maps


@pytest.mark.parametrize("name", [*NETS, "densenet121", "convnext_atto"])
def test_the_map_of_a_stage_goes_through_the_block_and_so_does_what_follows(name, monkeypatch):
    """finegrained row 58."""
    plain, backbone, made = net(name), net(name), Times(3.0)
    backbone.load_state_dict(plain.state_dict())
    part = build("se('s3')", BLOCKS)
    monkeypatch.setattr(part, "make", lambda width: made)
    with torch.no_grad():
        before, after = plain(IMAGES), part(backbone)(IMAGES)
    assert made.asked == 1
    torch.testing.assert_close(after["s3"], 3 * before["s3"])
    assert not torch.allclose(after["s4"], before["s4"]) and backbone.channels == plain.channels


@pytest.mark.parametrize("name", NETS)
def test_attention_inside_stands_at_the_end_of_the_branch_before_the_addition(name):
    """finegrained row 58: a branch that is multiplied by 0 leaves the shortcut."""
    backbone = net(name)
    inside = residual_blocks(backbone, "s3")
    zero = [Times(0.0) for _ in inside]
    for block, attention in zip(inside, zero, strict=True):
        hang(block, "attention", attention)
    given = {}
    for block in inside:
        block.register_forward_hook(lambda one, args, out: given.update({one: (args[0], out)}))
    with torch.no_grad():
        backbone(IMAGES)
        for block in inside:
            maps, out = given[block]
            short = (getattr(block, "downsample", None) or nn.Identity())(maps)
            torch.testing.assert_close(out, short.relu() if hasattr(block, "downsample") else short)
    assert [one.asked for one in zero] == [1] * len(inside)


@pytest.mark.parametrize("name", NETS)
def test_attention_of_factor_one_changes_nothing_and_the_old_names_stay(name):
    plain, backbone = net(name), net(name)
    for block in residual_blocks(backbone, "s4"):
        hang(block, "attention", Times(1.0))
    if name != "resnest14d":
        assert list(backbone.state_dict()) == list(plain.state_dict())
        backbone.load_state_dict(plain.state_dict())
        with torch.no_grad():
            torch.testing.assert_close(backbone(IMAGES), plain(IMAGES))


def test_blocks_stand_in_the_order_of_the_recipe():
    backbone, seen = net("resnet18"), []
    for name in ("first", "second", "third"):
        one = Times(1.0)
        one.register_forward_hook(lambda *_, name=name: seen.append(name))
        hang(residual_blocks(backbone, "s4")[0], "attention", one)
    with torch.no_grad():
        backbone(IMAGES)
    assert seen == ["first", "second", "third"]
    twice = build("se('s4')", BLOCKS)(build("se('s4')", BLOCKS)(backbone))
    assert list(twice.net["layer4"]._modules) == ["0", "1", "se", "se_2"]


@pytest.mark.parametrize(
    "call",
    [
        "se('s3')",
        "se('s4', inside=True)",
        "cbam('s3', inside=True)",
        "sk('s4')",
        "gather_excite('s3', inside=True, kind='theta+', extent=2)",
        "non_local('s3')",
        "rga('s3', size=(4, 4), ratio=2)",
    ],
)
def test_every_block_trains_and_each_of_its_weights_gets_a_gradient(call):
    """finegrained rows 31, 33 and 58."""
    backbone = build(call, BLOCKS)(net("resnet18")).train()
    sum(one.square().mean() for one in backbone(torch.randn(4, 3, 64, 64)).values()).backward()
    assert [name for name, one in backbone.named_parameters() if one.grad is None] == []


def test_looking_at_shapes_leaves_no_trace():
    backbone = build("rga('s3', size=(16, 16))", BLOCKS)(net("regnety_002")).train()
    backbone.net["s1"].eval()
    state = {name: value.clone() for name, value in backbone.state_dict().items()}
    modes = [module.training for module in backbone.modules()]
    assert [one[0] for one in shapes(backbone, residual_blocks(backbone, "s4"))] == [368] * 7
    assert all(torch.equal(value, state[name]) for name, value in backbone.state_dict().items())
    assert [module.training for module in backbone.modules()] == modes
    assert not any("forward" in vars(module) for module in backbone.modules())


def test_the_modules_of_a_stage_are_those_since_the_last_map():
    backbone = net("tf_efficientnet_b0")
    inside = {id(module) for module in modules(backbone, "s4")}
    assert [id(part) in inside for part in backbone.net.blocks] == [False] * 5 + [True] * 2
    assert channels(backbone, "s4") == 320 and channels(backbone, "s1") == 24


@pytest.mark.parametrize(
    ("name", "stages", "call", "says"),
    [
        ("resnet18", (2, 3), "se('s4')", "s4 is not in this backbone"),
        ("resnet18", (3, 4), "se('s7')", "only s0, s1"),
        ("densenet121", (3, 4), "se('s4', inside=True)", "no residual blocks"),
        ("test_vit", (4,), "se('s4')", "holds a"),
        ("swin_tiny_patch4_window7_224", (4,), "se('s4')", "channels last"),
        ("resnet18", (3, 4), "sk('s4', inside=True)", "no bottlenecks"),
        ("convnext_atto", (3, 4), "last_stride()", "not twice"),
        ("convnext_atto", (3, 4), "ibn()", "neither kind"),
    ],
)
def test_a_place_that_is_not_there_is_named(name, stages, call, says):
    with pytest.raises(ValueError, match=says):
        build(call, BLOCKS)(net(name, stages))


def test_a_recipe_names_blocks_and_a_wrong_place_is_a_usage_error(config, batch):
    cfg = config("SEEK.BACKBONE", "timm('resnet18')", "SEEK.BLOCKS", ["last_stride()", "se('s4')"])
    model = build_model(cfg).eval()
    assert model(batch).shape == (4, 8) and "se" in model.backbone.net["layer4"]._modules
    with pytest.raises(UsageError, match=r"se\('s9'\).*no stage"):
        build_model(config("SEEK.BLOCKS", ["se('s9')"]))
    with pytest.raises(UsageError, match="convolutional networks of timm"):
        build_model(
            config(
                "SEEK.BACKBONE",
                "",
                "MODEL.BACKBONE.NAME",
                "build_resnet_backbone",
                "MODEL.BACKBONE.DEPTH",
                "18x",
                "MODEL.BACKBONE.FEAT_DIM",
                512,
                "SEEK.BLOCKS",
                ["se('s4')"],
            )
        )
