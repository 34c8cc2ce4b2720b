import torch

from fastseek.modeling.blocks.non_local import EmbeddedGaussian


def slow(block, maps):
    """Fine-grained facts 2.2, position by position in float64, for one image."""

    def conv(layer, vector):
        return layer.weight[:, :, 0, 0] @ vector + layer.bias

    height, width = maps.shape[1:]

    def pooled(layer, row, column):
        cells = [
            conv(layer, maps[:, row + down, column + right]) for down in (0, 1) for right in (0, 1)
        ]
        return torch.stack(cells).amax(0)

    corners = [
        (row, column) for row in range(0, height - 1, 2) for column in range(0, width - 1, 2)
    ]
    keys, values = (
        [pooled(layer, *corner) for corner in corners] for layer in (block.phi, block.g)
    )
    out, norm = torch.empty_like(maps), block.norm
    for row in range(height):
        for column in range(width):
            query = conv(block.theta, maps[:, row, column])
            weights = torch.stack([torch.exp(query @ key) for key in keys])
            seen = sum(w * value for w, value in zip(weights / weights.sum(), values, strict=True))
            told = (conv(block.out, seen) - norm.running_mean) / (
                norm.running_var + norm.eps
            ).sqrt()
            out[:, row, column] = maps[:, row, column] + told * norm.weight + norm.bias
    return out


def test_the_block_equals_its_definition():
    """finegrained row 33."""
    block, maps = EmbeddedGaussian(6).double().eval(), torch.randn(2, 6, 5, 4, dtype=torch.float64)
    with torch.no_grad():
        for tensor in (block.norm.weight, block.norm.bias, block.norm.running_mean):
            tensor.uniform_(-1, 1)
        found = block(maps)
        for one, row in zip(maps, found, strict=True):
            torch.testing.assert_close(row, slow(block, one))


def test_a_fresh_block_is_the_identity_and_learns():
    """finegrained row 33."""
    block, maps = EmbeddedGaussian(6).train(), torch.randn(2, 6, 5, 4)
    out = block(maps)
    assert torch.equal(out, maps)
    (out * torch.randn(2, 6, 5, 4)).sum().backward()
    assert block.norm.weight.grad.abs().sum() > 0


def test_the_softmax_stays_finite_in_half_precision():
    block, maps = EmbeddedGaussian(6).eval(), 300 * torch.randn(1, 6, 4, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert block(maps).isfinite().all()
