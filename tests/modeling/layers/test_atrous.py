import pytest
import torch
import torch.nn.functional as F

from fastseek.modeling.layers.atrous import MultiAtrous


@pytest.mark.parametrize("size", [(8, 8), (5, 9), (3, 1), (1, 1)])
@pytest.mark.parametrize("extra", [{}, {"pointwise": True, "image_pool": True}])
def test_any_size_is_kept(size, extra):
    """landmark row 14."""
    layer = MultiAtrous(4, 3, 6, (3, 6, 9), **extra)
    assert layer(torch.randn(2, 4, *size)).shape == (2, 6, *size)


def test_the_result_is_the_joined_parallel_convolutions():
    """landmark row 14; the order is image pool, 1x1, dilated."""
    layer = MultiAtrous(4, 3, 6, (2, 5), pointwise=True, image_pool=True)
    maps = torch.randn(2, 4, 7, 6)
    mean = F.relu(
        F.conv2d(maps.mean((2, 3), keepdim=True), layer.image_pool.weight, layer.image_pool.bias)
    )
    fields = [
        mean.expand(-1, -1, 7, 6),
        F.conv2d(maps, layer.parallel[0].weight, layer.parallel[0].bias),
    ]
    for module, dilation in zip(layer.parallel[1:], (2, 5), strict=True):
        fields.append(
            F.conv2d(maps, module.weight, module.bias, padding=dilation, dilation=dilation)
        )
    expected = F.relu(F.conv2d(torch.cat(fields, 1), layer.join.weight, layer.join.bias))
    torch.testing.assert_close(layer(maps), expected)


def test_one_position_reaches_exactly_its_dilated_neighbours():
    layer = MultiAtrous(1, 1, 1, (3,))
    for parameter in layer.parameters():
        torch.nn.init.constant_(parameter, float(parameter.dim() > 1))
    maps = torch.zeros(1, 1, 9, 9)
    maps[0, 0, 4, 4] = 1
    touched = {tuple(place) for place in layer(maps)[0, 0].nonzero().tolist()}
    assert touched == {(y, x) for y in (1, 4, 7) for x in (1, 4, 7)}


def test_image_pool_alone_is_the_same_everywhere():
    out = MultiAtrous(4, 3, 6, (), image_pool=True)(torch.randn(2, 4, 5, 4))
    assert out.shape == (2, 6, 5, 4) and torch.equal(out, out[:, :, :1, :1].expand_as(out))


def test_the_winners_layer_has_the_published_number_of_parameters():
    with torch.device("meta"):
        layer = MultiAtrous(176, 512, 1024, (6, 12, 18))
    assert (
        sum(p.numel() for p in layer.parameters()) == 3 * (176 * 512 * 9 + 512) + 1536 * 1024 + 1024
    )


def test_nothing_to_run_is_refused():
    with pytest.raises(ValueError, match="dilation"):
        MultiAtrous(4, 3, 6, ())
