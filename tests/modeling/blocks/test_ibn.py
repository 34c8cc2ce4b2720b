import pytest
import torch
from torch import nn

from fastseek.errors import UsageError
from fastseek.modeling import backbones  # noqa: F401
from fastseek.modeling.blocks.ibn import SplitNorm
from fastseek.registry import BACKBONES, BLOCKS, build


def lively_norm(width):
    norm = nn.BatchNorm2d(width).double().eval()
    for tensor in (norm.weight.data, norm.bias.data, norm.running_mean):
        tensor.uniform_(-1, 1)
    norm.running_var.uniform_(0.5, 2)
    return norm


def slow_instance(maps, norm, channel):
    own = maps[:, channel]
    mean, var = own.mean((1, 2), keepdim=True), own.var((1, 2), unbiased=False, keepdim=True)
    return (own - mean) / (var + 1e-5).sqrt() * norm.weight[channel] + norm.bias[channel]


@pytest.mark.parametrize(("dense", "by_instance"), [(False, range(0, 5)), (True, range(6, 10))])
def test_the_channels_are_split_in_the_order_of_the_family(dense, by_instance):
    """finegrained row 34; trap 9: ResNet normalises the first half by instance, DenseNet the last
    40 %.
    """
    norm, maps = lively_norm(10), torch.randn(3, 10, 4, 5, dtype=torch.float64)
    found, plain = SplitNorm(norm, dense).double().eval()(maps), norm(maps)
    for channel in range(10):
        expected = (
            slow_instance(maps, norm, channel) if channel in by_instance else plain[:, channel]
        )
        torch.testing.assert_close(found[:, channel], expected)


def splits(backbone):
    return {
        name: module for name, module in backbone.named_modules() if isinstance(module, SplitNorm)
    }


def test_a_resnet_changes_the_first_norm_of_every_block_of_three_stages():
    """finegrained row 34."""
    backbone = build("ibn()", BLOCKS)(build("timm('resnet26')", BACKBONES))
    assert list(splits(backbone)) == [
        f"net.layer{stage}.{block}.bn1" for stage in (1, 2, 3) for block in (0, 1)
    ]
    assert not any(module.dense for module in splits(backbone).values())


def test_a_densenet_changes_every_third_layer_of_three_blocks_and_keeps_its_relu():
    """finegrained row 34."""
    backbone = build("ibn()", BLOCKS)(build("timm('densenet121')", BACKBONES))
    layers = [
        f"net.features_denseblock{block}.denselayer{n}.norm1"
        for block, size in ((1, 6), (2, 12), (3, 24))
        for n in range(1, size + 1, 3)
    ]
    assert list(splits(backbone)) == layers
    assert all(
        module.dense and isinstance(module.act, nn.ReLU) for module in splits(backbone).values()
    )


def test_digix_used_the_order_of_the_densenet_in_its_resnet():
    """trap 9."""
    backbone = build("ibn(family='densenet')", BLOCKS)(build("timm('resnet18')", BACKBONES))
    assert all(module.dense for module in splits(backbone).values()) and len(splits(backbone)) == 6


def test_the_channels_that_stay_keep_their_weights_and_statistics():
    norm = lively_norm(10)
    split = SplitNorm(norm, dense=False)
    for key in ("weight", "bias", "running_mean", "running_var"):
        torch.testing.assert_close(
            getattr(split.batch, key).double(), getattr(norm, key)[5:], rtol=1e-6, atol=1e-6
        )


@pytest.mark.parametrize("name", ["resnet18", "densenet121"])
def test_a_changed_network_gives_maps_of_the_same_size(name):
    backbone = build("ibn()", BLOCKS)(build(f"timm({name!r})", BACKBONES)).eval()
    with torch.no_grad():
        assert backbone(torch.randn(1, 3, 64, 64))["s4"].shape[2:] == (2, 2)


def test_an_unknown_family_is_a_usage_error():
    with pytest.raises(UsageError, match="resnet, densenet, auto"):
        build("ibn(family='vgg')", BLOCKS)
