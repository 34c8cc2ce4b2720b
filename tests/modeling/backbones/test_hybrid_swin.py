import pytest
import timm
import torch

from fastseek.config.edits import without_pretrained
from fastseek.errors import ArtefactError, UsageError
from fastseek.modeling.backbones.hybrid_swin import HybridSwin
from fastseek.modeling.backbones.timm import Timm
from fastseek.modeling.branches.linear_neck import LinearNeck
from fastseek.registry import BACKBONES, build

TINY = {
    "embed_dim": 16,
    "depths": (1, 1, 2),
    "num_heads": (1, 2, 4),
    "img_size": 32,
    "window_size": 4,
}
SMALL, SWIN = "test_efficientnet", "swin_tiny_patch4_window7_224"
B224, B384 = "swin_base_patch4_window7_224", "swin_base_patch4_window12_384"


def tiny(cnn=SMALL, stage=2, **options):
    return HybridSwin(cnn, stage, SWIN, kwargs=TINY, **options)


def size(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("cnn", "stage", "stride", "swin", "image", "width", "published"),
    [
        ("tf_efficientnet_b3", 3, 2, B224, 896, 136, 97.38),
        ("tf_efficientnet_b5", 3, 1, B224, 448, 176, 114.57),
        ("tf_efficientnet_b6", 1, 2, B384, 384, 40, 126.81),
    ],
)
def test_the_winners_models_have_the_published_number_of_parameters(
    cnn, stage, stride, swin, image, width, published
):
    """landmark row 22, facts table 2.1; the published number counts the blocks behind the map,
    which are cut here.
    """
    with torch.device("meta"):
        net = HybridSwin(cnn, stage, swin, stride)
        whole = size(net) + size(LinearNeck(pool="none", channels=net.channels))
        unused = size(Timm(cnn, (4,))) - size(Timm(cnn, (stage,)))
        vector = net(torch.zeros(2, 3, image, image))["s4"]
    assert round((whole + unused) / 1e6, 2) == published and unused > 7e6
    assert (
        net.patch_embed.proj.weight.shape == (128, width, 1, 1)
        and net.patch_embed.proj.bias is not None
    )
    assert vector.shape == (2, 1024, 1, 1) and net.channels == {"s4": 1024}


@pytest.mark.parametrize(
    ("cnn", "widths"),
    [
        ("tf_efficientnet_b3", (32, 48, 136)),
        ("tf_efficientnet_b5", (40, 64, 176)),
        ("tf_efficientnet_b6", (40, 72, 200)),
        ("tf_efficientnet_b7", (48, 80, 224)),
    ],
)
def test_the_stages_have_the_published_channels_and_reductions(cnn, widths):
    """landmark row 22, facts table 2.1."""
    for stage, width in enumerate(widths, 1):
        with torch.device("meta"):
            part = Timm(cnn, (stage,))
        assert part.channels == {f"s{stage}": width} and part.net.feature_info.reduction() == [
            2 << stage
        ]


@pytest.mark.parametrize(
    ("stage", "stride", "image"), [(1, 2, 224), (2, 2, 448), (2, 1, 224), (3, 2, 896), (3, 1, 448)]
)
def test_growing_keeps_the_token_count(stage, stride, image):
    """landmark row 23: a stage more with twice the image, or half the stride, gives the 56 x 56
    tokens of before.
    """
    with torch.device("meta"):
        net = HybridSwin("tf_efficientnet_b3", stage, B224, stride)
        tokens = net.patch_embed(torch.zeros(1, 3, image, image))
    assert tokens.shape == (1, 56, 56, 128)


@pytest.mark.parametrize(
    "options", [{}, {"pool": "virtual_token"}, {"position": True}, {"cnn": ""}]
)
def test_every_parameter_gets_a_gradient_and_one_photo_gives_what_it_gives_in_a_batch(options):
    """landmark rows 20, 24."""
    net = tiny(**options)
    images = torch.randn(3, 3, *(side * net.reduction for side in net.grid))
    (net(images)["s4"] * torch.randn(3, 64, 1, 1)).sum().backward()
    assert [name for name, parameter in net.named_parameters() if parameter.grad is None] == []
    net.eval()
    with torch.no_grad():
        torch.testing.assert_close(
            net(images[:1])["s4"], net(images)["s4"][:1], atol=1e-5, rtol=1e-4
        )


def test_the_vector_is_the_mean_of_the_normed_tokens():
    """Landmark facts 2.1: 1x1 convolution without norm, the layers of timm's Swin, LayerNorm, mean
    over tokens.
    """
    net = tiny().eval()
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        maps = net.patch_embed.cnn(images)["s2"]
        tokens = torch.einsum("bchw,dc->bhwd", maps, net.patch_embed.proj.weight[:, :, 0, 0])
        tokens = net.norm(net.layers(tokens + net.patch_embed.proj.bias))
        torch.testing.assert_close(
            net(images)["s4"][:, :, 0, 0], tokens.mean((1, 2)), atol=1e-5, rtol=1e-4
        )


def test_without_a_cnn_it_is_timms_own_swin():
    """Step one of the growth."""
    whole = timm.create_model(SWIN, num_classes=0, **TINY).eval()
    net = tiny("").eval()
    net.load_state_dict(whole.state_dict())
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(
            net(images)["s4"][:, :, 0, 0], whole(images), atol=1e-5, rtol=1e-4
        )


@pytest.mark.parametrize("option", [{"pool": "virtual_token"}, {"position": True}])
def test_switching_on_an_option_changes_nothing_at_first(option):
    """landmark row 24."""
    plain, other = tiny().eval(), tiny(**option).eval()
    left = other.load_state_dict(plain.state_dict(), strict=False)
    assert left.unexpected_keys == [] and all(
        name.startswith(("token.", "position")) for name in left.missing_keys
    )
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(other(images)["s4"], plain(images)["s4"], atol=1e-5, rtol=1e-4)
        for parameter in other.token.parameters() if other.token else [other.position]:
            parameter.add_(torch.randn_like(parameter))
        assert not torch.allclose(other(images)["s4"], plain(images)["s4"], atol=1e-3)


STEPS = [{"cnn": ""}, {"stage": 1}, {"stage": 2}, {"stage": 3}, {"stage": 3, "stem_stride": 1}]


@pytest.mark.parametrize(("small", "large"), zip(STEPS, STEPS[1:], strict=False))
def test_a_checkpoint_grows_by_name_and_all_other_weights_stay_bit_identical(small, large):
    """landmark rows 23, 34: what does not fit is the patch embedding alone, or its one
    projection.
    """
    before, after = tiny(**small).state_dict(), tiny(**large)
    fits = {
        name: value
        for name, value in before.items()
        if name in after.state_dict() and after.state_dict()[name].shape == value.shape
    }
    lost = before.keys() - fits.keys()
    new = after.load_state_dict(fits, strict=False).missing_keys
    if small.get("stage") == large.get("stage"):
        assert not lost and not new
    elif small == {"cnn": ""}:
        assert all(name.startswith("patch_embed.") for name in {*lost, *new})
    else:
        assert lost == {"patch_embed.proj.weight"}
        assert all(
            name.startswith(("patch_embed.proj.weight", "patch_embed.cnn.net.blocks."))
            for name in new
        )
    assert all(torch.equal(after.state_dict()[name], value) for name, value in fits.items())
    assert any(name.startswith("layers.") for name in fits) and "norm.weight" in fits


@pytest.mark.parametrize(
    ("image", "says"),
    [
        (128, "16 x 16 tokens.*wants 8 x 8: give images of 64 x 64.*cnn_stage=3, stem_stride=2"),
        (32, "4 x 4 tokens.*64 x 64.*cnn_stage=1, stem_stride=2 or cnn_stage=2, stem_stride=1"),
        (60, "7.5 x 7.5 tokens.*give images of 64 x 64$"),
    ],
)
def test_an_image_size_that_does_not_fit_is_told_with_those_that_do(image, says):
    """landmark row 22."""
    with pytest.raises(UsageError, match=says):
        tiny()(torch.zeros(1, 3, image, image))


@pytest.mark.parametrize(("swin", "grid", "wants"), [(B224, 56, 448), (B384, 96, 768)])
def test_the_published_swins_have_their_grids(swin, grid, wants):
    """landmark row 22: 56 and 96 tokens a side."""
    with torch.device("meta"):
        net = HybridSwin("tf_efficientnet_b5", 2, swin)
        with pytest.raises(
            UsageError, match=f"wants {grid} x {grid}: give images of {wants} x {wants}"
        ):
            net(torch.zeros(1, 3, 512, 512))


def test_oblong_grids_work():
    net = HybridSwin(SMALL, 2, SWIN, kwargs={**TINY, "img_size": (32, 16)}).eval()
    assert net.grid == (8, 4) and net(torch.zeros(1, 3, 64, 32))["s4"].shape == (1, 64, 1, 1)
    with pytest.raises(UsageError, match="64 x 32"):
        net(torch.zeros(1, 3, 32, 64))


def test_both_parts_load_local_weights(tmp_path):
    files = {}
    for name, options in ((SMALL, {}), (SWIN, {key: value for key, value in TINY.items()})):
        files[name] = timm.create_model(name, **options)
        torch.save(files[name].state_dict(), tmp_path / f"{name}.pth")
    net = tiny(
        cnn_weights=str(tmp_path / f"{SMALL}.pth"), swin_weights=str(tmp_path / f"{SWIN}.pth")
    )
    assert torch.equal(net.patch_embed.cnn.net.conv_stem.weight, files[SMALL].conv_stem.weight)
    assert torch.equal(
        net.layers[1].blocks[0].attn.qkv.weight, files[SWIN].layers[1].blocks[0].attn.qkv.weight
    )
    with pytest.raises(ArtefactError, match="does not fit"):
        tiny(swin_weights=str(tmp_path / f"{SMALL}.pth"))


def test_weights_in_the_names_of_swins_authors_are_understood(tmp_path):
    """Stages end with their downsampling there, and the file carries index tables and masks."""
    own = timm.create_model(SWIN, **TINY).state_dict()
    theirs = {}
    for name, value in own.items():
        parts = name.split(".")
        if parts[0] == "layers" and parts[2] == "downsample":
            parts[1] = str(int(parts[1]) - 1)
        theirs[".".join(parts).replace("head.fc", "head")] = value
    theirs["layers.0.blocks.0.attn.relative_position_index"] = torch.zeros(16, 16)
    torch.save({"model": theirs}, tmp_path / "swin.pth")
    net = tiny("", swin_weights=str(tmp_path / "swin.pth"))
    for name, value in net.state_dict().items():
        assert torch.equal(value, own[name])


def test_a_recipe_of_trained_weights_needs_neither_file(config):
    cfg = config(
        "SEEK.BACKBONE",
        "hybrid_swin('mobilenetv2_100', cnn_weights='a.pth', swin_weights='b.pth', "
        "pretrained=True)",
    )
    assert without_pretrained(cfg).SEEK.BACKBONE == "hybrid_swin('mobilenetv2_100')"


@pytest.mark.parametrize(
    ("call", "says"),
    [
        ("cnn_stage=4", "1, 2 or 3"),
        ("stem_stride=3", "stem_stride"),
        ("pool='max'", "'mean' or 'virtual_token'"),
        ("cnn='b9'", "timm knows"),
        ("swin='resnet18'", "name of a Swin"),
        ("swin='swinv2_tiny_window8_256'", "name of a Swin"),
        ("kwargs={'nothing': 1}", "nothing"),
    ],
)
def test_what_cannot_be_built_is_a_usage_error(call, says):
    with pytest.raises(UsageError, match=says), torch.device("meta"):
        build(f"hybrid_swin({call})", BACKBONES)
