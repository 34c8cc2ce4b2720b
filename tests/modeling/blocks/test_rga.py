import pytest
import torch
from torch import nn

from fastseek.errors import UsageError
from fastseek.modeling import backbones  # noqa: F401
from fastseek.modeling.blocks._relation import Relation
from fastseek.modeling.blocks.rga import RelationAware
from fastseek.registry import BACKBONES, BLOCKS, build


def lively(module):
    for one in module.modules():
        if isinstance(one, nn.BatchNorm1d):
            for tensor in (one.weight.data, one.bias.data, one.running_mean):
                tensor.uniform_(-0.5, 1)
    return module.double().eval()


def embed(layer, vector):
    """1x1 convolution, norm and ReLU of the numbers of one node."""
    conv, norm = layer[0], layer[1]
    out = conv.weight[:, :, 0] @ vector
    out = (out - norm.running_mean) / (norm.running_var + norm.eps).sqrt() * norm.weight + norm.bias
    return out.relu()


def slow_relation(module, nodes):
    """Fine-grained facts 2.2, node by node: affinity r_ij = theta(i) . phi(j)."""
    count = nodes.shape[1]
    theta, phi = (
        [embed(layer, nodes[:, i]) for i in range(count)] for layer in (module.theta, module.phi)
    )
    weights = []
    for i in range(count):
        outgoing = torch.stack([theta[i] @ phi[j] for j in range(count)])
        incoming = torch.stack([theta[j] @ phi[i] for j in range(count)])
        told = torch.cat(
            [
                embed(module.g, nodes[:, i]).mean()[None],
                embed(module.affinity, torch.cat([outgoing, incoming])),
            ]
        )
        hidden = embed(module.weigh[0], told)
        conv, norm = module.weigh[1], module.weigh[2]
        last = (conv.weight[:, :, 0] @ hidden - norm.running_mean) / (
            norm.running_var + norm.eps
        ).sqrt()
        weights.append(torch.sigmoid(last * norm.weight + norm.bias))
    return torch.cat(weights)


def test_the_weights_of_the_nodes_equal_their_definition():
    """finegrained row 31."""
    module, nodes = lively(Relation(6, 8, 2)), torch.randn(2, 8, 6, dtype=torch.float64)
    with torch.no_grad():
        found = module(nodes)
        for one, row in zip(nodes, found, strict=True):
            torch.testing.assert_close(row[0], slow_relation(module, one))


def test_positions_first_then_channels_of_what_is_left():
    """finegrained row 31."""
    block, maps = (
        lively(RelationAware(6, (3, 4), ratio=2)),
        torch.randn(1, 6, 3, 4, dtype=torch.float64),
    )
    with torch.no_grad():
        attended = maps * slow_relation(block.spatial, maps[0].flatten(1)).view(1, 1, 3, 4)
        expected = attended * slow_relation(block.channel, attended[0].flatten(1).T).view(
            1, 6, 1, 1
        )
        torch.testing.assert_close(block(maps), expected)


@pytest.mark.parametrize(("spatial", "channel"), [(True, False), (False, True), (True, True)])
def test_the_shape_stays(spatial, channel):
    """finegrained row 31 and section 8."""
    block = RelationAware(64, (8, 7), spatial=spatial, channel=channel)
    assert block(torch.randn(2, 64, 8, 7)).shape == (2, 64, 8, 7)


def test_a_map_under_56_positions_is_refused_with_the_reason():
    """finegrained row 31: (1 + HW/8)/8 channels would be none."""
    RelationAware(64, (7, 8))
    with pytest.raises(ValueError, match="55 nodes.*at least 56"):
        RelationAware(64, (5, 11))


def test_another_size_is_refused_with_the_way_out():
    """finegrained row 31; trap 8."""
    with pytest.raises(UsageError, match=r"\(8, 8\), this one is \(9, 9\).*adaptive=True"):
        RelationAware(64, (8, 8))(torch.randn(1, 64, 9, 9))


def test_the_size_free_form_is_the_fixed_form_at_the_trained_size_and_shares_its_weights():
    """finegrained row 32."""
    fixed, free = (
        lively(RelationAware(16, (4, 4), ratio=2)),
        lively(RelationAware(16, (4, 4), True, ratio=2)),
    )
    free.load_state_dict(fixed.state_dict())
    maps = torch.randn(2, 16, 4, 4, dtype=torch.float64)
    torch.testing.assert_close(free(maps), fixed(maps))


@pytest.mark.parametrize("scale", [2, 3])
def test_an_enlarged_map_gets_nearly_the_weights_of_the_trained_size(scale):
    """finegrained row 32; trap 8: pooled to the trained grid, a map of constant blocks is the
    trained map.
    """
    free = lively(RelationAware(16, (4, 4), True, spatial=False, ratio=2))
    maps = torch.randn(2, 16, 4, 4, dtype=torch.float64)
    larger = maps.repeat_interleave(scale, 2).repeat_interleave(scale, 3)
    torch.testing.assert_close(
        free(larger), free(maps).repeat_interleave(scale, 2).repeat_interleave(scale, 3)
    )


def test_a_network_with_the_size_free_form_is_tested_at_a_larger_scale():
    """finegrained row 32: 1.1x test scale."""
    backbone = build("timm('resnet18', stages=(3, 4))", BACKBONES)
    backbone = build("rga('s3', size=(8, 8), adaptive=True)", BLOCKS)(backbone).eval()
    with torch.no_grad():
        for side, cells in ((128, 8), (160, 10), (96, 6)):
            assert backbone(torch.randn(1, 3, side, side))["s3"].shape[2:] == (cells, cells)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        ("rga(size=(8,))", "size"),
        ("rga(spatial=False, channel=False)", "both"),
        ("rga(ratio=0)", "ratio"),
    ],
)
def test_an_impossible_setting_is_a_usage_error(call, says):
    with pytest.raises(UsageError, match=says):
        build(call, BLOCKS)
