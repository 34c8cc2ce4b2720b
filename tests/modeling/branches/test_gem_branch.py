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
