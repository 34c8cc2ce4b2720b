import pytest
import torch

from fastseek.errors import UsageError
from fastseek.inference.pretrained.embedding_net import EmbeddingNet
from fastseek.modeling.backbones.vit import Vit
from fastseek.modeling.layer_order import layer_blocks
from fastseek.registry import BACKBONES, build

SMALL = "kwargs={'depth': 3, 'embed_dim': 48, 'num_heads': 3, 'img_size': 32}"
NETS = {
    "class token": f"vit('vit_tiny_patch16_224', {SMALL})",
    "registers": f"vit('vit_small_patch14_reg4_dinov2', {SMALL.replace('32', '28')})",
    "attention pool": f"vit('vit_base_patch16_siglip_224', pooled=True, {SMALL})",
    "rotary": f"vit('vit_small_patch16_dinov3', blocks=(0, 2), {SMALL})",
    "norm behind the pooling": f"vit('vit_pe_core_tiny_patch16_384', pooled=True, {SMALL})",
}


def make(name):
    torch.manual_seed(0)
    return build(NETS[name], BACKBONES)


def images(backbone, rows=3, columns=2, batch=2):
    generator = torch.Generator().manual_seed(1)
    height, width = backbone.patch
    return torch.randn(batch, 3, rows * height, columns * width, generator=generator)


@pytest.mark.parametrize("name", NETS)
def test_maps_are_the_tokens_behind_the_final_norm(name):
    backbone = make(name).eval()
    seen = images(backbone)
    maps = backbone(seen)
    assert {key: one.shape[1] for key, one in maps.items()} == backbone.channels
    tokens = backbone.net.forward_features(seen)
    parts = [key for key in ("cls", "registers", "s4") if key in maps]
    again = torch.cat([maps[key].flatten(2).transpose(1, 2) for key in parts], dim=1)
    torch.testing.assert_close(again, tokens)
    assert maps["s4"].shape[2:] == (3, 2)


@pytest.mark.parametrize("name", NETS)
def test_names_of_maps_are_known_without_the_network(name):
    call = NETS[name]
    arguments = {"name": call.split("'")[1], "blocks": (), "pooled": "pooled" in call}
    arguments["blocks"] = (0, 2) if "blocks" in call else ()
    assert list(Vit.maps_of(**arguments, kwargs={"depth": 3})) == list(make(name).channels)


@pytest.mark.parametrize("name", NETS)
def test_every_parameter_learns_from_the_maps(name):
    backbone = make(name)
    generator = torch.Generator().manual_seed(2)
    total = sum(
        (one * torch.randn(one.shape, generator=generator)).sum()
        for one in backbone(images(backbone)).values()
    )
    total.backward()
    assert [key for key, one in backbone.named_parameters() if one.grad is None] == []


@pytest.mark.parametrize("name", ["attention pool", "norm behind the pooling"])
def test_the_networks_own_pooling_is_that_of_embedding_by_name(name):
    backbone = make(name).eval()
    seen = images(backbone, 2, 2)
    net = EmbeddingNet(backbone.net, "head", [0.0] * 3, [1 / 255] * 3)
    pooled = backbone(seen)["pooled"].flatten(1)
    torch.testing.assert_close(torch.nn.functional.normalize(pooled), net(seen))


def test_a_block_further_up_gives_its_tokens_behind_the_final_norm():
    backbone = make("rotary").eval()
    maps = backbone(images(backbone))
    torch.testing.assert_close(maps["b2"], maps["s4"])
    assert not torch.allclose(maps["b0"], maps["s4"])


def test_an_image_the_patches_do_not_divide_is_refused():
    with pytest.raises(UsageError, match="multiples of 16 and 16, these are 32 x 40"):
        make("class token")(torch.zeros(1, 3, 32, 40))


@pytest.mark.parametrize(
    ("call", "told"),
    [
        ("vit('resnet18')", "no vision transformer"),
        ("vit('vit_tinny_patch16_224')", "near it: vit_tiny_patch16_224"),
        (f"vit('vit_tiny_patch16_224', blocks=(3,), {SMALL})", "has blocks 0 to 2"),
    ],
)
def test_a_wrong_network_or_block_is_refused(call, told):
    with pytest.raises(UsageError, match=told):
        build(call, BACKBONES)


def test_blocks_are_counted_for_frozen_layers_and_rates():
    units = layer_blocks(make("class token").net)
    assert [unit for unit in units if unit[0].startswith("blocks.")] == [
        ["blocks.0"],
        ["blocks.1"],
        ["blocks.2"],
    ]
    assert units[0] == ["patch_embed"] or units[0][0] == "patch_embed"
