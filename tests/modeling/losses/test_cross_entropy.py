import math

import pytest
import torch

from fastseek.errors import UsageError
from fastseek.modeling.losses.cross_entropy import CrossEntropy
from fastseek.registry import LOSSES, build

COUNTS = torch.tensor([1, 1, 1, 1, 1])


def slow_cross_entropy(logits, targets, smoothing):
    """Fine-grained facts 1.2: q of the own class 1 - (N-1)/N eps, of the others eps/N."""
    classes, total = logits.shape[1], 0.0
    for row, target in zip(logits.double().tolist(), targets.tolist(), strict=True):
        log_sum = max(row) + math.log(sum(math.exp(value - max(row)) for value in row))
        for label, value in enumerate(row):
            q = 1 - (classes - 1) / classes * smoothing if label == target else smoothing / classes
            total -= q * (value - log_sum)
    return total / len(logits)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.7])
def test_the_loss_equals_its_definition(smoothing):
    """finegrained row 8."""
    loss = CrossEntropy("e", smoothing=smoothing, dims={"e": 6}, counts=COUNTS)
    with torch.no_grad():
        loss.classifier.weight.normal_()
    embedding, targets = torch.randn(7, 6), torch.tensor([0, 1, 2, 3, 4, 4, 0])
    expected = slow_cross_entropy(embedding @ loss.classifier.weight.T, targets, smoothing)
    assert loss(embedding, targets).item() == pytest.approx(expected, rel=1e-5)


def test_it_starts_near_the_logarithm_of_the_number_of_classes():
    loss = CrossEntropy("e", dims={"e": 6}, counts=COUNTS)
    assert loss(torch.randn(7, 6), torch.zeros(7, dtype=torch.int64)).item() == pytest.approx(
        math.log(5), abs=0.02
    )


def test_the_classifier_has_a_bias_only_when_asked():
    assert CrossEntropy("e", dims={"e": 6}, counts=COUNTS).classifier.bias is None
    assert (CrossEntropy("e", bias=True, dims={"e": 6}, counts=COUNTS).classifier.bias == 0).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_changes_nothing(dtype):
    loss = CrossEntropy("e", dims={"e": 6}, counts=COUNTS)
    embedding, targets = torch.randn(7, 6), torch.tensor([0, 1, 2, 3, 4, 4, 0])
    with torch.autocast("cpu", dtype=dtype):
        mixed = loss(embedding, targets)
    assert torch.equal(mixed, loss(embedding, targets))


def test_weight_scales_the_loss():
    one = CrossEntropy("e", dims={"e": 6}, counts=COUNTS)
    three = CrossEntropy("e", weight=3.0, dims={"e": 6}, counts=COUNTS)
    three.load_state_dict(one.state_dict())
    embedding, targets = torch.randn(7, 6), torch.tensor([0, 1, 2, 3, 4, 4, 0])
    torch.testing.assert_close(three(embedding, targets), 3 * one(embedding, targets))


@pytest.mark.parametrize(
    ("call", "says"),
    [("cross_entropy('f')", "'f', only e"), ("cross_entropy('e', smoothing=2)", "smoothing")],
)
def test_an_impossible_setting_is_a_usage_error(call, says):
    with pytest.raises(UsageError, match=says):
        build(call, LOSSES, dims={"e": 6}, counts=COUNTS)
