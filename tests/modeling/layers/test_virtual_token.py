import pytest
import torch

from fastseek.modeling.layers.virtual_token import VirtualToken


def test_it_starts_as_the_mean_over_any_number_of_tokens():
    """landmark row 24."""
    layer = VirtualToken(16, 4)
    for count in (1, 49, 50):
        tokens = torch.randn(2, count, 16)
        torch.testing.assert_close(layer(tokens), tokens.mean(1), atol=1e-5, rtol=1e-5)


def test_it_equals_softmax_attention_written_out():
    layer = VirtualToken(6, 2)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_()
    tokens = torch.randn(3, 5, 6)
    keys, values = layer.key(tokens), layer.value(tokens)
    for photo in range(3):
        parts = []
        for head in range(2):
            own = slice(3 * head, 3 * head + 3)
            share = (keys[photo, :, own] @ layer.token[head] / 3**0.5).softmax(0)
            parts.append(share @ values[photo, :, own])
        torch.testing.assert_close(layer(tokens)[photo], layer.out(torch.cat(parts)))


def test_the_order_of_the_tokens_does_not_matter():
    layer = VirtualToken(8, 2)
    torch.nn.init.normal_(layer.token)
    tokens = torch.randn(2, 9, 8)
    torch.testing.assert_close(layer(tokens.flip(1)), layer(tokens))


def test_heads_that_do_not_divide_the_channels_are_refused():
    with pytest.raises(ValueError, match="divide"):
        VirtualToken(10, 4)
