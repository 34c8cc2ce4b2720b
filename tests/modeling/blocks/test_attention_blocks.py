"""SE, gather-excite, CBAM and SK against their definitions (fine-grained facts 4.2), in float64
with plain loops.
"""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fastseek.errors import UsageError
from fastseek.modeling import backbones, blocks  # noqa: F401
from fastseek.registry import BACKBONES, BLOCKS, build


def module(call, channels):
    made = build(call, BLOCKS).make(channels).double().eval()
    for one in made.modules():  # a norm that does something
        if isinstance(one, nn.BatchNorm2d):
            for tensor in (one.weight.data, one.bias.data, one.running_mean):
                tensor.uniform_(-1, 1)
            one.running_var.uniform_(0.5, 2)
    return made


def maps(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def norm(values, one):
    shape = (1, -1, 1, 1)
    unit = (values - one.running_mean.view(shape)) / (one.running_var.view(shape) + one.eps).sqrt()
    return unit * one.weight.view(shape) + one.bias.view(shape)


@pytest.mark.parametrize(
    ("channels", "bias", "width"), [(64, True, 4), (40, True, 2), (8, False, 1)]
)
def test_se_is_its_definition(channels, bias, width):
    """finegrained row 58; trap 20: the reduction is not rounded to multiples of 8."""
    se, x = module(f"se(ratio=16, bias={bias})", channels), maps(2, channels, 3, 5)
    assert se.fc1.weight.shape[0] == width and (se.fc1.bias is not None) == bias
    down, up = se.fc1.weight.flatten(1), se.fc2.weight.flatten(1)
    hidden = (x.mean((2, 3)) @ down.T + (se.fc1.bias if bias else 0)).relu()
    expected = x * torch.sigmoid(hidden @ up.T + (se.fc2.bias if bias else 0))[..., None, None]
    torch.testing.assert_close(se(x), expected)


def test_gather_excite_theta_minus_is_the_sigmoid_of_the_mean():
    """finegrained row 58; trap 20."""
    ge, x = module("gather_excite(kind='theta-')", 6), maps(2, 6, 3, 5)
    torch.testing.assert_close(ge(x), x * torch.sigmoid(x.mean((2, 3), keepdim=True)))
    assert list(ge.parameters()) == []


@pytest.mark.parametrize("extent", [2, 4])
def test_gather_excite_theta_minus_of_an_extent_pools_what_is_near(extent):
    ge, x = module(f"gather_excite(kind='theta-', extent={extent})", 2), maps(1, 2, 8, 8)
    expected = torch.empty_like(x)
    for row in range(8):
        for column in range(8):
            top, left = row // extent * extent, column // extent * extent  # middle of the window
            window = x[
                :,
                :,
                max(0, top - extent + 1) : top + extent,
                max(0, left - extent + 1) : left + extent,
            ]
            expected[:, :, row, column] = x[:, :, row, column] * torch.sigmoid(window.mean((2, 3)))
    torch.testing.assert_close(ge(x), expected)


@pytest.mark.parametrize("kind", ["theta", "theta+"])
def test_gather_excite_with_parameters_over_the_whole_map_is_its_definition(kind):
    """finegrained row 58; trap 20: timm's cannot be built."""
    ge, x = module(f"gather_excite(kind={kind!r}, size=(3, 5), ratio=4)", 8), maps(2, 8, 3, 5)
    told = norm((x * ge.gather[0].weight[:, 0]).sum((2, 3), keepdim=True), ge.gather[1])
    if kind == "theta+":
        _, down, _, up = ge.excite
        assert down.weight.shape[:2] == (2, 8) and up.weight.shape[:2] == (8, 2)
        hidden = (told.relu().flatten(1) @ down.weight.flatten(1).T + down.bias).relu()
        told = (hidden @ up.weight.flatten(1).T + up.bias)[..., None, None]
    torch.testing.assert_close(ge(x), x * torch.sigmoid(told))


@pytest.mark.parametrize("extent", [2, 4, 8])
def test_gather_excite_of_a_finite_extent_is_a_chain_of_halvings(extent):
    ge, x = module(f"gather_excite(kind='theta', extent={extent})", 4), maps(2, 4, 16, 16)
    convs = [one for one in ge.modules() if isinstance(one, nn.Conv2d)]
    assert len(convs) == math.log2(extent)
    assert all((one.groups, one.stride, one.kernel_size) == (4, (2, 2), (3, 3)) for one in convs)
    told = ge.gather(x)
    assert told.shape[2:] == (16 // extent, 16 // extent)
    spread = told.repeat_interleave(extent, 2).repeat_interleave(extent, 3)
    torch.testing.assert_close(ge(x), x * torch.sigmoid(spread))


def test_gather_excite_says_which_size_it_was_made_for():
    with pytest.raises(UsageError, match=r"\(3, 5\), this one is \(4, 5\)"):
        module("gather_excite(kind='theta', size=(3, 5))", 8)(maps(1, 8, 4, 5))


def test_cbam_is_its_definition():
    """finegrained row 58; trap 20: biases in the MLP."""
    cbam, x = module("cbam(ratio=4)", 8), maps(2, 8, 6, 5)
    channel, place = cbam
    assert place.norm.momentum == 0.01 and place.conv.bias is None

    def mlp(values):
        hidden = (values @ channel.fc1.weight.flatten(1).T + channel.fc1.bias).relu()
        return hidden @ channel.fc2.weight.flatten(1).T + channel.fc2.bias

    first = x * torch.sigmoid(mlp(x.mean((2, 3))) + mlp(x.amax((2, 3))))[..., None, None]
    told = F.conv2d(torch.stack([first.amax(1), first.mean(1)], 1), place.conv.weight, padding=3)
    torch.testing.assert_close(cbam(x), first * torch.sigmoid(norm(told, place.norm)))


def test_sk_is_its_definition_and_its_weights_sum_to_one():
    """finegrained row 58; trap 20: the input is not split."""
    sk, x = module("sk(groups=2)", 64), maps(2, 64, 6, 5)
    parts = []
    for dilation, path in zip((1, 2), sk.paths, strict=True):
        assert path.conv.groups == 2 and path.conv.in_channels == 64
        told = F.conv2d(x, path.conv.weight, padding=dilation, dilation=dilation, groups=2)
        parts.append(norm(told, path.bn).relu())
    reduce = sk.attn.fc_reduce.weight.flatten(1)
    assert reduce.shape == (32, 64)
    z = (
        norm(((parts[0] + parts[1]).mean((2, 3)) @ reduce.T)[..., None, None], sk.attn.bn)
        .relu()
        .flatten(1)
    )
    a, b = (z @ sk.attn.fc_select.weight.flatten(1).T).chunk(2, dim=1)
    share = torch.exp(a) / (torch.exp(a) + torch.exp(b))
    expected = share[..., None, None] * parts[0] + (1 - share)[..., None, None] * parts[1]
    torch.testing.assert_close(sk(x), expected)


@pytest.mark.parametrize(("name", "size"), [("resnet26d", (8, 4)), ("regnety_002", (8, 4))])
def test_sk_inside_takes_the_place_of_the_three_by_three_convolutions(name, size):
    backbone = build("sk('s3', inside=True)", BLOCKS)(build(f"timm({name!r})", BACKBONES)).eval()
    bottlenecks = [
        one for one in backbone.modules() if hasattr(one, "drop_path") and hasattr(one, "conv3")
    ]
    kinds = [type(one.conv2).__name__ for one in bottlenecks]
    assert kinds.count("SelectiveKernel") == (2 if name == "resnet26d" else 4)
    assert backbone(torch.randn(1, 3, 128, 64))["s3"].shape[2:] == size


@pytest.mark.parametrize(
    ("call", "says"),
    [
        ("se(ratio=0)", "ratio"),
        ("cbam(ratio=0)", "ratio"),
        ("sk(groups=0)", "groups"),
        ("gather_excite(kind='theta')", "needs size"),
        ("gather_excite(kind='beta')", "theta-"),
        ("gather_excite(extent=3)", "power of 2"),
    ],
)
def test_an_impossible_setting_is_a_usage_error(call, says):
    with pytest.raises(UsageError, match=says):
        build(call, BLOCKS)
