import pytest
import torch

from fastseek.modeling.branches.gem import Gem


def test_without_a_linear_layer_it_is_the_pooled_map():
    """landmark row 25."""
    branch = Gem(p=2.0, trainable_p=False, channels={"s4": 6})
    maps = torch.rand(3, 6, 4, 5)
    assert branch.dims == {"gem": 6} and not list(branch.parameters())
    torch.testing.assert_close(branch({"s4": maps})["gem"], maps.square().mean((2, 3)).sqrt())


def test_the_linear_layer_sets_the_dimension():
    branch = Gem(dim=4, channels={"s4": 6})
    out = branch({"s4": torch.rand(1, 6, 4, 5)})["gem"]
    assert out.shape == (1, 4) and branch.dims == {"gem": 4}
    out.sum().backward()
    assert branch.pool.p.grad is not None


@pytest.mark.parametrize("p", [3.0, 2.7])
def test_negative_maps_give_finite_embeddings_and_the_exponent_learns(p):
    """finegrained row 30; trap 15: a negative number to a power that is not whole is NaN without
    the clamp.
    """
    branch, maps = (
        Gem(p=p, channels={"s4": 4}),
        torch.cat([-torch.rand(2, 4, 3, 3), torch.rand(2, 4, 3, 3)]),
    )
    out = branch({"s4": maps})["gem"]
    out.sum().backward()
    assert out.isfinite().all() and branch.pool.p.item() == pytest.approx(p)
    assert branch.pool.p.grad.isfinite().all() and branch.pool.p.grad != 0
