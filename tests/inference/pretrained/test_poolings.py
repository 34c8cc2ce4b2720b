"""Each pooling of each kind of network against the same written out step by step."""

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from fastseek.errors import UsageError
from fastseek.inference.pretrained import ModelOptions, load_model
from fastseek.inference.pretrained.embedding_net import EmbeddingNet

SMALL = {"img_size": 64, "patch_size": 16, "embed_dim": 48, "depth": 2, "num_heads": 3}
# name -> (network of timm, its arguments): what pretrained models differ in, small
NETWORKS = {
    "class token": ("vit_tiny_patch16_224", SMALL),
    "registers": ("vit_small_patch14_reg4_dinov2", {**SMALL, "reg_tokens": 4}),
    "attention pool": ("vit_base_patch16_siglip_224", SMALL),
    "norm after pooling": (
        "vit_tiny_patch16_224",
        {**SMALL, "global_pool": "avg", "fc_norm": True},
    ),
    "rotary positions": (
        "vit_small_patch16_dinov3",
        {"img_size": 64, "embed_dim": 48, "depth": 2, "num_heads": 3},
    ),
    "maps": ("test_convnext", {}),
    "maps with a head": ("test_efficientnet", {}),
    "channels last": (
        "swin_tiny_patch4_window7_224",
        {"img_size": 64, "embed_dim": 24, "window_size": 2},
    ),
}
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)


@pytest.fixture(scope="module", params=list(NETWORKS))
def net(request):
    torch.manual_seed(0)
    name, options = NETWORKS[request.param]
    made = timm.create_model(name, num_classes=0, **options).eval()
    with torch.no_grad():  # norms that do nothing would hide that they are left out
        for module in made.modules():
            if isinstance(module, torch.nn.LayerNorm):
                module.weight.uniform_(0.5, 2)
                module.bias.uniform_(-1, 1)
    return made


@pytest.fixture(scope="module")
def images():
    random = np.random.default_rng(0)
    return torch.from_numpy(random.integers(0, 256, (3, 3, 64, 64), np.uint8))


def step_by_step(net, pooling, image):
    """One image, one place after the other, in float64 after the network."""
    mean, std = (torch.tensor(values).reshape(3, 1, 1) for values in (MEAN, STD))
    with torch.no_grad():
        features = net.forward_features(((image / 255 - mean) / std)[None])
        if pooling == "head":
            found = net.forward_head(features, pre_logits=True)[0]
        else:
            found = after(net, one_vector(net, pooling, features[0]))
    found = found.double().numpy()
    return found / np.sqrt((found**2).sum())


def one_vector(net, pooling, features):
    if pooling == "cls":
        return features[0]
    if features.ndim == 2:
        first = (net.cls_token is not None) + (getattr(net, "reg_token", None) is not None) * 4
        places = list(features[first:])
    elif getattr(net, "output_fmt", "") == "NHWC":
        places = [
            features[row, col]
            for row in range(features.shape[0])
            for col in range(features.shape[1])
        ]
    else:
        places = [
            features[:, row, col]
            for row in range(features.shape[1])
            for col in range(features.shape[2])
        ]
    total = torch.zeros(len(places[0]), dtype=torch.float64)
    for place in places:
        total += place.double().clamp(min=1e-6) ** 3 if pooling == "gem" else place.double()
    found = total / len(places)
    return (found ** (1 / 3) if pooling == "gem" else found).float()


def after(net, vector):
    if hasattr(net, "fc_norm"):
        return net.fc_norm(vector)
    norm = getattr(net.head, "norm", None) if hasattr(net, "head") else None
    if norm is None:
        return vector
    centered = vector - vector.mean()
    scaled = centered / torch.sqrt((centered**2).mean() + norm.eps)
    return scaled * norm.weight + norm.bias


@pytest.mark.parametrize("pooling", ["head", "mean", "gem", "cls"])
def test_a_pooling_is_what_it_says(net, images, pooling):
    if pooling == "cls" and getattr(net, "cls_token", None) is None:
        with pytest.raises(UsageError, match="no class token: take pooling mean, gem or head"):
            EmbeddingNet(net, pooling, MEAN, STD)
        return
    with torch.inference_mode():
        found = EmbeddingNet(net, pooling, MEAN, STD)(images).numpy()
    slow = np.stack([step_by_step(net, pooling, image) for image in images])
    assert np.abs(found - slow).max() < 3e-5
    assert found.dtype == np.float32 and np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)


def test_the_networks_of_this_test_are_what_they_are_called(net, request):
    kind = request.node.callspec.params["net"]
    assert (getattr(net, "attn_pool", None) is not None) == (kind == "attention pool")
    assert (getattr(net, "reg_token", None) is not None) == (
        kind in ("registers", "rotary positions")
    )
    assert isinstance(getattr(net, "fc_norm", None), torch.nn.LayerNorm) == (
        kind == "norm after pooling"
    )


def test_registers_and_class_token_are_no_places(images):
    torch.manual_seed(0)
    name, options = NETWORKS["registers"]
    net = timm.create_model(name, num_classes=0, **options).eval()
    pooled = EmbeddingNet(net, "mean", MEAN, STD)
    features = torch.randn(2, 5 + 16, 48)
    changed = features.clone()
    changed[:, :5] = 7
    with torch.no_grad():
        assert torch.equal(pooled.pool(features), pooled.pool(changed))
        assert not torch.equal(pooled.pool(features), pooled.pool(features.flip(0)))


@pytest.mark.parametrize("network", ["test_vit", "test_resnet"])
def test_another_size_is_taken_and_position_embeddings_are_resized(tmp_path, network, images):
    torch.manual_seed(0)
    net = timm.create_model(network)
    save_file(net.state_dict(), tmp_path / "w.safetensors")
    name = f"timm:{network}@{tmp_path / 'w.safetensors'}"
    own, larger = load_model(name), load_model(name, ModelOptions(size=96))
    assert own.provenance["model"] == larger.provenance["model"]
    assert larger.provenance["preprocessing"]["size"] == [96, 96]
    assert larger.dim == own.dim
    blank = torch.zeros(1, 3, 96, 96, dtype=torch.uint8)
    assert larger.vectors(blank).shape == (1, own.dim)


def test_a_size_that_patches_do_not_divide_is_told(tmp_path):
    torch.manual_seed(0)
    save_file(timm.create_model("test_vit").state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(UsageError, match="name another size"):
        load_model(f"timm:test_vit@{tmp_path / 'w.safetensors'}", ModelOptions(size=65))


def test_lower_precision_is_near_and_is_told_in_the_provenance(tmp_path, images):
    torch.manual_seed(0)
    save_file(timm.create_model("test_vit").state_dict(), tmp_path / "w.safetensors")
    name = f"timm:test_vit@{tmp_path / 'w.safetensors'}"
    plain, half = (load_model(name, ModelOptions(size=64, precision=one)) for one in ("", "bf16"))
    one, other = plain.vectors(images), half.vectors(images)
    assert other.dtype == np.float32 and not np.array_equal(one, other)
    assert np.linalg.norm(one - other, axis=1).max() < 0.05
    assert half.provenance["preprocessing"]["precision"] == "bf16"
    assert "precision" not in plain.provenance["preprocessing"]


def test_a_network_that_gives_a_class_token_alone_has_no_places_to_pool(images):
    torch.manual_seed(0)
    name, options = NETWORKS["class token"]
    net = timm.create_model(name, num_classes=0, **options).eval()
    with pytest.raises(UsageError, match="a class token alone: take pooling cls or head"):
        EmbeddingNet(net, "gem", MEAN, STD).pool(torch.ones(2, 1, 48))


def test_a_network_that_gives_several_features_is_refused(images, monkeypatch):
    torch.manual_seed(0)
    net = timm.create_model("test_resnet", num_classes=0).eval()
    monkeypatch.setattr(net, "forward_features", lambda seen: [seen, seen])
    with pytest.raises(UsageError, match="ResNet gives several features at once"):
        EmbeddingNet(net, "head", MEAN, STD)(images)
