import pytest
import torch

from fastseek.modeling.layers.gem import Gem, pool


def slow_gem(maps, p, eps=1e-6):
    rows = []
    for image in maps.double():
        rows.append(
            [sum(max(float(value), eps) ** p for value in channel.flatten()) for channel in image]
        )
    return (torch.tensor(rows, dtype=torch.float64) / maps[0, 0].numel()) ** (1 / p)


@pytest.mark.parametrize("p", [0.5, 1.0, 3.0, 6.5])
@pytest.mark.parametrize("size", [(4, 4), (3, 7), (1, 1)])
def test_gem_equals_the_double_loop_of_its_definition(p, size):
    maps = torch.randn(2, 5, *size)
    torch.testing.assert_close(Gem(p)(maps).double(), slow_gem(maps, p), rtol=1e-5, atol=1e-9)


def test_exponent_one_is_the_mean():
    """landmark row 16."""
    maps = torch.rand(2, 3, 5, 4) + 0.1
    torch.testing.assert_close(Gem(1.0)(maps), maps.mean((2, 3)))


def test_a_large_exponent_is_the_maximum():
    """landmark row 16; 300^1000 is far beyond float32."""
    maps = torch.rand(2, 3, 5, 4) * 300
    torch.testing.assert_close(Gem(1000.0)(maps), maps.amax((2, 3)), rtol=0.01, atol=0)


def test_the_exponent_is_trained_or_fixed_as_asked():
    """landmark row 16."""
    trained, fixed = Gem(3.0), Gem(3.0, trainable=False)
    trained(torch.rand(2, 3, 4, 4)).sum().backward()
    assert trained.p.grad is not None and float(trained.p.grad) > 0
    assert list(fixed.parameters()) == [] and not fixed.state_dict()


def test_value_and_gradients_equal_those_of_the_plain_formula_in_float64():
    maps = torch.rand(2, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    layer = Gem(3.0).double()
    factor = torch.randn(2, 3, dtype=torch.float64)
    (layer(maps) * factor).sum().backward()
    twin, p = (
        maps.detach().clone().requires_grad_(),
        torch.tensor(3.0, dtype=torch.float64, requires_grad=True),
    )
    (twin.clamp(min=1e-6).pow(p).mean((2, 3)).pow(1 / p) * factor).sum().backward()
    torch.testing.assert_close(maps.grad, twin.grad)
    torch.testing.assert_close(layer.p.grad, p.grad.reshape(1))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_mixed_precision_changes_nothing_for_the_same_input(dtype):
    """landmark row 16: 1e-6 cubed is zero in float16, and 300 cubed is infinite."""
    maps = (torch.rand(2, 3, 4, 4) * 300).to(dtype)
    with torch.autocast("cpu", dtype=dtype):
        mixed = Gem(3.0)(maps)
    assert mixed.dtype == torch.float32
    torch.testing.assert_close(mixed, Gem(3.0)(maps.float()))


def test_a_dead_map_gives_finite_values_and_gradients():
    maps = torch.zeros(1, 2, 3, 3, requires_grad=True)
    layer = Gem(10.0)
    layer(maps).sum().backward()
    assert torch.isfinite(maps.grad).all() and torch.isfinite(layer.p.grad).all()


@pytest.mark.parametrize("p", [0.0, -1.0, float("nan")])
def test_an_exponent_that_is_not_positive_is_refused(p):
    with pytest.raises(ValueError, match="positive"):
        Gem(p)


def test_pools_are_known_by_name():
    maps = torch.rand(2, 3, 5, 4)
    torch.testing.assert_close(pool("avg")(maps), maps.mean((2, 3)))
    torch.testing.assert_close(pool("gem", 2.0)(maps), maps.square().mean((2, 3)).sqrt())
    with pytest.raises(ValueError, match="avg"):
        pool("max")
