import math

import pytest
import torch
import torch.nn.functional as F

from fastseek.errors import UsageError
from fastseek.modeling.losses.prototype import Prototype
from fastseek.registry import LOSSES, build

COUNTS, DIMS = torch.tensor([5, 5, 5, 5]), {"e": 3}


def prototype(**options):
    return Prototype("e", **options, dims=DIMS, counts=COUNTS).train()


class Slow:
    """Fine-grained facts 6, step 7, with a dict of prototypes in float64."""

    def __init__(self, temperature, momentum):
        self.means, self.temperature, self.momentum = {}, temperature, momentum

    def loss(self, vectors, targets):
        unit, costs = F.normalize(vectors.double()), []
        for row, label in zip(unit, targets.tolist(), strict=True):
            if label in self.means:
                cosine = {
                    name: float(F.cosine_similarity(row, mean, dim=0))
                    for name, mean in self.means.items()
                }
                total = sum(math.exp(value / self.temperature) for value in cosine.values())
                costs.append(math.log(total) - cosine[label] / self.temperature)
        for label in set(targets.tolist()):
            mean = unit[targets == label].mean(0)
            old = self.means.get(label)
            self.means[label] = (
                mean if old is None else self.momentum * old + (1 - self.momentum) * mean
            )
        return sum(costs) / max(1, len(costs))


@pytest.mark.parametrize(("temperature", "momentum"), [(0.1, 0.9), (1.0, 0.0)])
def test_loss_and_prototypes_equal_their_definition(temperature, momentum):
    """finegrained row 85."""
    loss, slow = (
        prototype(temperature=temperature, momentum=momentum, weight=0.5),
        Slow(temperature, momentum),
    )
    for labels in ([0, 0, 1, 1, 0], [0, 1, 2, 2, 0], [3, 3, 3, 3, 3], [0, 1, 2, 3, 3]):
        vectors, targets = torch.randn(5, 3), torch.tensor(labels)
        assert loss(vectors, targets).item() == pytest.approx(
            0.5 * slow.loss(vectors, targets), rel=1e-4, abs=1e-6
        )
    for label, mean in slow.means.items():
        torch.testing.assert_close(loss.prototypes[label].double(), mean, rtol=1e-5, atol=1e-6)


def test_a_batch_of_unknown_classes_costs_nothing_and_has_no_gradient_that_is_nan():
    loss, vectors = prototype(), torch.randn(5, 3, requires_grad=True)
    found = loss(vectors, torch.tensor([0, 0, 1, 1, 2]))
    found.backward()
    assert found.item() == 0 and torch.equal(vectors.grad, torch.zeros(5, 3))
    assert loss.known.tolist() == [True, True, True, False]


def test_a_batch_with_known_and_unknown_classes_has_a_finite_gradient():
    loss = prototype()
    loss(torch.randn(2, 3), torch.tensor([0, 1]))
    vectors = torch.randn(3, 3, requires_grad=True)
    loss(vectors, torch.tensor([0, 1, 3])).backward()
    assert (
        vectors.grad.isfinite().all()
        and (vectors.grad[2] == 0).all()
        and vectors.grad[:2].abs().sum() > 0
    )


def test_the_embeddings_are_measured_before_the_prototypes_move():
    loss = prototype(weight=1.0)
    loss(torch.eye(3), torch.tensor([0, 1, 2]))
    vectors = torch.tensor([[0.0, 1.0, 0.0]])
    expected = math.log(1 + math.exp(10) + 1) - 0
    assert loss(vectors, torch.tensor([0])).item() == pytest.approx(expected, rel=1e-5)


def test_evaluation_and_passes_without_gradient_leave_the_prototypes_alone():
    loss = prototype()
    with torch.no_grad():
        loss(torch.randn(2, 3), torch.tensor([0, 1]))
    loss.eval()(torch.randn(2, 3), torch.tensor([0, 1]))
    assert not loss.known.any() and (loss.prototypes == 0).all()


def test_the_prototypes_are_saved_and_are_no_parameters():
    assert (
        set(prototype().state_dict()) == {"prototypes", "known"}
        and list(prototype().parameters()) == []
    )


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("'f'", "'f', only e"),
        ("'e', temperature=0.0", "temperature"),
        ("'e', momentum=1.0", "momentum"),
    ],
)
def test_an_impossible_setting_is_a_usage_error(options, says):
    with pytest.raises(UsageError, match=says):
        build(f"prototype({options})", LOSSES, dims=DIMS, counts=COUNTS)
