import copy

import pytest
import torch

from fastseek.errors import UsageError
from fastseek.modeling.blocks.lora import LoraLinear
from fastseek.registry import BACKBONES, BLOCKS, build

SMALL = "kwargs={'depth': 2, 'embed_dim': 48, 'num_heads': 3, 'img_size': 32}"
# A plain one; one whose attention reads the weight without calling the layer; a convolutional one.
NETS = {
    "deit": (f"vit('vit_tiny_patch16_224', {SMALL})", "lora(rank=2, alpha=6)"),
    "pe": (f"vit('vit_pe_core_tiny_patch16_384', {SMALL})", "lora(rank=2, on=('qkv',))"),
    "convnext": ("timm('test_convnext', stages=(4,))", "lora(rank=2, on=('fc1', 'fc2'))"),
}


def make(name, lora=None):
    torch.manual_seed(0)
    backbone = build(NETS[name][0], BACKBONES).eval()
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    plain = backbone(images)["s4"].detach()
    keys = set(backbone.state_dict())
    return build(lora or NETS[name][1], BLOCKS)(backbone), images, plain, keys


def wake(backbone):
    generator = torch.Generator().manual_seed(2)
    for key, one in backbone.named_parameters():
        if key.endswith("lora_up"):
            one.data = torch.randn(one.shape, generator=generator)


@pytest.mark.parametrize("name", NETS)
def test_nothing_changes_at_first_and_the_names_stay(name):
    backbone, images, plain, keys = make(name)
    assert torch.equal(backbone(images)["s4"], plain)
    added = set(backbone.state_dict()) - keys
    assert keys < set(backbone.state_dict()) and all("lora_" in key for key in added)


@pytest.mark.parametrize("name", NETS)
def test_a_layer_works_with_its_weight_plus_the_product(name):
    backbone, images, _, _ = make(name)
    wake(backbone)
    grown = backbone(images)["s4"]
    torch.manual_seed(0)
    twin = build(NETS[name][0], BACKBONES).eval()
    layers = {key: one for key, one in backbone.named_modules() if isinstance(one, LoraLinear)}
    for key, layer in layers.items():
        for row in range(layer.out_features):
            for number in range(2):
                step = layer.scale * layer.lora_up[row, number] * layer.lora_down[number]
                twin.get_submodule(key).weight.data[row] += step.detach()
    torch.testing.assert_close(grown, twin(images)["s4"], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", NETS)
def test_only_the_product_learns(name):
    backbone, images, _, _ = make(name)
    wake(backbone)
    backbone(images)["s4"].pow(3).sum().backward()
    learning = {key for key, one in backbone.named_parameters() if one.grad is not None}
    assert learning == {key for key in backbone.state_dict() if "lora_" in key}


def test_the_rest_learns_where_it_is_not_to_be_frozen():
    backbone, _, _, _ = make("deit", "lora(rank=2, freeze=False)")
    assert all(one.requires_grad for one in backbone.parameters())


def test_a_checkpoint_brings_the_product_back():
    backbone, images, _, _ = make("deit")
    wake(backbone)
    again = make("deit")[0]
    again.load_state_dict(copy.deepcopy(backbone.state_dict()))
    assert torch.equal(again(images)["s4"], backbone(images)["s4"])


@pytest.mark.parametrize(
    ("call", "told"),
    [
        ("lora(rank=0)", "rank must be"),
        ("lora(alpha=0)", "alpha positive"),
        ("lora(on=())", "empty"),
    ],
)
def test_illegal_numbers_are_refused(call, told):
    with pytest.raises(UsageError, match=told):
        build(call, BLOCKS)


def test_a_layer_that_is_not_there_is_named():
    with pytest.raises(ValueError, match="no linear layer is called 'query'"):
        make("deit", "lora(on=('query',))")
