import pytest
import torch
import torch.nn.functional as F

from fastseek.modeling.layers.attention import LocalAttention


@pytest.mark.parametrize("size", [(4, 4), (5, 3), (1, 1)])
def test_the_length_of_every_local_feature_is_its_score(size):
    """landmark row 15."""
    layer = LocalAttention(6, 8).train(size != (1, 1))
    local, scores = layer(torch.randn(3, 6, *size))
    assert local.shape == (3, 8, *size) and scores.shape == (3, 1, *size)
    assert (scores >= 0).all()
    torch.testing.assert_close(local.norm(dim=1, keepdim=True), scores)


def test_the_direction_is_taken_before_relu():
    """landmark row 15: negative values stay."""
    layer = LocalAttention(6, 8).eval()
    maps = torch.randn(2, 6, 3, 3)
    values = layer.norm(layer.value(maps))
    score = F.softplus(layer.score(F.relu(values)))
    local, _ = layer(maps)
    torch.testing.assert_close(local, values / values.norm(dim=1, keepdim=True) * score)
    assert (local < 0).any()


def test_bfloat16_autocast_stays_near_float32():
    layer = LocalAttention(6, 8).eval()
    maps = torch.randn(2, 6, 4, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        local, scores = layer(maps)
    assert local.dtype == scores.dtype == torch.float32
    torch.testing.assert_close(local.norm(dim=1, keepdim=True), scores)
    torch.testing.assert_close(local, layer(maps)[0], atol=0.03, rtol=0.03)
