import pytest
import torch
import torch.nn.functional as F

from fastseek.modeling.layers.margin import add_margin
from fastseek.modeling.layers.streamed import Classifier, chunk_for, streamed_loss
from fastseek.modeling.layers.subcenter import subcenter_cosine

CLASSES = 11


def plain(embedding, weight, targets, margin, how):
    """The same without chunks, differentiated by torch."""
    cosine = subcenter_cosine(embedding, weight, how.k)
    logits = how.s * add_margin(cosine, targets, margin)
    return F.cross_entropy(logits, targets, label_smoothing=how.smoothing), cosine.argmax(1)


def inputs(k, dtype=torch.float64, rows=6, dim=5):
    embedding = F.normalize(torch.randn(rows, dim, dtype=dtype)).requires_grad_()
    weight = torch.randn(CLASSES * k, dim, dtype=dtype).mul_(3).requires_grad_()
    return (
        embedding,
        weight,
        torch.randint(CLASSES, (rows,)),
        torch.linspace(0.05, 0.5, CLASSES, dtype=dtype),
    )


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("chunk", [1, 4, 11, 100])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_value_and_gradients_equal_those_without_chunks(k, chunk, smoothing):
    """landmark row 32."""
    embedding, weight, targets, margin = inputs(k)
    how = Classifier(k, 20.0, smoothing, chunk)
    value, nearest = streamed_loss(embedding, weight, targets, margin, how)
    twin, twin_nearest = plain(embedding, weight, targets, margin, how)
    torch.testing.assert_close(value, twin)
    assert torch.equal(nearest, twin_nearest)
    for found, expected in zip(
        torch.autograd.grad(2 * value, (embedding, weight)),
        torch.autograd.grad(2 * twin, (embedding, weight)),
        strict=True,
    ):
        # without chunks the gradient runs through F.normalize, which takes out what is along the
        # embedding
        along = (
            (lambda g: g - (g * embedding).sum(1, keepdim=True) * embedding)
            if found.shape == embedding.shape
            else (lambda g: g)
        )
        torch.testing.assert_close(along(found), along(expected))


def test_gradients_equal_finite_differences():
    embedding, weight, targets, margin = inputs(2)
    how = Classifier(2, 5.0, 0.1, 3)
    assert torch.autograd.gradcheck(
        lambda *both: streamed_loss(*both, targets, margin, how)[0], (embedding, weight)
    )


def test_the_threshold_branch_is_taken_as_without_chunks():
    """landmark row 29."""
    embedding, weight, targets, margin = inputs(1)
    with torch.no_grad():
        weight[targets] = -embedding * 2 + 0.01
    how = Classifier(1, 10.0, 0.0, 4)
    (value, _), (twin, _) = (
        made(embedding, weight, targets, margin, how) for made in (streamed_loss, plain)
    )
    torch.testing.assert_close(value, twin)
    torch.testing.assert_close(*(torch.autograd.grad(one, weight)[0] for one in (value, twin)))


@pytest.mark.parametrize("sign", [1, -1])
def test_a_vector_on_a_centre_gives_finite_gradients(sign):
    """landmark row 30: cosines of exactly +-1 and, by rounding, beyond, at the target and
    elsewhere.
    """
    embedding = F.normalize(torch.randn(64, 512)).requires_grad_()
    weight = (sign * embedding).detach().requires_grad_()
    for targets in (torch.arange(64), torch.arange(64).flip(0)):
        value, _ = streamed_loss(
            embedding, weight, targets, torch.full((64,), 0.3), Classifier(1, 45.0, 0.0, 10)
        )
        for grad in torch.autograd.grad(value, (embedding, weight)):
            assert grad.isfinite().all()
        assert value.isfinite()


def test_nothing_as_large_as_all_logits_or_centres_is_kept_for_backward():
    """landmark row 32: what is saved besides the inputs is two numbers a row."""
    embedding, weight, targets, margin = inputs(3)
    for made, large in ((streamed_loss, False), (plain, True)):
        kept = []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda one, kept=kept: kept.append(one) or one, lambda one: one
        ):
            made(embedding, weight, targets, margin, Classifier(3, 20.0, 0.0, 4))
        given = {one.data_ptr() for one in (embedding, weight, targets, margin)}
        extra = sum(one.numel() for one in kept if one.data_ptr() not in given)
        assert (extra >= weight.numel() + len(embedding) * CLASSES * 3) == large
        assert large or extra == 2 * len(embedding)


def test_a_loss_scaler_scales_the_gradients():
    embedding, weight, targets, margin = inputs(2, torch.float32)
    value, _ = streamed_loss(embedding, weight, targets, margin, Classifier(2, 20.0, 0.0, 4))
    (plain_grad,) = torch.autograd.grad(value, weight, retain_graph=True)
    (scaled,) = torch.autograd.grad(value * 65536.0, weight)
    torch.testing.assert_close(scaled / 65536, plain_grad)


def test_half_precision_centres_get_gradients_of_their_own_precision():
    embedding, weight, targets, margin = inputs(2, torch.float32)
    half = weight.detach().bfloat16().requires_grad_()
    how = Classifier(2, 20.0, 0.0, 4)
    value, _ = streamed_loss(embedding, half, targets, margin, how)
    twin, _ = streamed_loss(embedding, half.float(), targets, margin, how)
    (grad,) = torch.autograd.grad(value, half)
    assert torch.equal(value, twin) and grad.dtype == torch.bfloat16 and grad.isfinite().all()


@pytest.mark.parametrize("target", [-1, CLASSES])
def test_a_target_that_is_no_class_is_an_error(target):
    embedding, weight, targets, margin = inputs(1)
    with pytest.raises((IndexError, RuntimeError)):
        streamed_loss(
            embedding,
            weight,
            targets.index_fill(0, torch.tensor([2]), target),
            margin,
            Classifier(1, 20.0, 0.0, 4),
        )


def test_chunks_are_taken_for_many_classes_only():
    """landmark row 32."""
    assert chunk_for(1000, 3, 64, 512) == 0
    assert 64 < chunk_for(81_313, 3, 16, 512) < 81_313
    assert chunk_for(81_313, 3, 4096, 512) < chunk_for(81_313, 3, 16, 512)
