import pytest
import torch

from fastseek.modeling.layers.orthogonal import orthogonal


def test_the_worked_example_holds_for_both_fusions():
    """Landmark facts 1.3: fg = (2, 0), fl = (1, 1)."""
    local, whole = torch.tensor([[1.0, 1.0]]), torch.tensor([[2.0, 0.0]])
    assert orthogonal(local, whole).tolist() == [[0.0, 1.0]]
    assert orthogonal(local, whole, "legacy_single_norm").tolist() == [[-1.0, 1.0]]


def test_the_rest_is_orthogonal_at_every_position():
    """landmark row 17."""
    local, whole = torch.randn(3, 16, 5, 7), torch.randn(3, 16)
    rest = orthogonal(local, whole)
    for image in range(3):
        for y in range(5):
            for x in range(7):
                assert abs(float(rest[image, :, y, x] @ whole[image])) < 1e-5


def test_the_rest_plus_the_projection_is_the_local_feature():
    local, whole = (
        torch.randn(2, 8, 3, 3, dtype=torch.float64),
        torch.randn(2, 8, dtype=torch.float64),
    )
    rest = orthogonal(local, whole)
    for image in range(2):
        g = whole[image]
        for y in range(3):
            for x in range(3):
                projection = (local[image, :, y, x] @ g) / (g @ g) * g
                torch.testing.assert_close(rest[image, :, y, x] + projection, local[image, :, y, x])


def test_a_zero_global_feature_leaves_the_local_one():
    """landmark row 17: the guard of the division."""
    local, whole = torch.randn(2, 8, 3, 3), torch.zeros(2, 8, requires_grad=True)
    rest = orthogonal(local, whole)
    assert torch.equal(rest, local)
    rest.sum().backward()
    assert torch.isfinite(whole.grad).all()


@pytest.mark.parametrize("scale", [1e-3, 7.0, 1e4])
def test_the_length_of_the_global_feature_does_not_matter(scale):
    """landmark row 18."""
    local, whole = torch.randn(2, 8, 3, 3), torch.randn(2, 8)
    torch.testing.assert_close(
        orthogonal(local, whole * scale), orthogonal(local, whole), atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize("fusion", ["squared", "legacy_single_norm"])
def test_pooling_before_or_after_gives_the_same(fusion):
    """landmark row 19, and the reason why dolg pools first."""
    local, whole = torch.randn(2, 8, 5, 4), torch.randn(2, 8)
    rest = orthogonal(local, whole, fusion)
    torch.testing.assert_close(
        rest.mean((2, 3)), orthogonal(local.mean((2, 3)), whole, fusion), atol=1e-6, rtol=1e-5
    )
    whole_map = torch.cat([whole[..., None, None].expand_as(rest), rest], dim=1)
    torch.testing.assert_close(whole_map.mean((2, 3)), torch.cat([whole, rest.mean((2, 3))], dim=1))


def test_half_precision_features_do_not_overflow():
    """The squared norm of 1024 values of 16 exceeds float16."""
    local, whole = torch.ones(1, 1024).half(), torch.full((1, 1024), 16.0).half()
    with torch.autocast("cpu", dtype=torch.float16):
        rest = orthogonal(local, whole)
    torch.testing.assert_close(rest, torch.zeros(1, 1024), atol=1e-5, rtol=0)


def test_an_unknown_fusion_is_refused():
    with pytest.raises(ValueError, match="squared"):
        orthogonal(torch.ones(1, 2), torch.ones(1, 2), "cubed")
