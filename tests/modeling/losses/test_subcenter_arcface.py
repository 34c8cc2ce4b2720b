import math

import pytest
import torch
import torch.nn.functional as F

from fastseek.errors import UsageError
from fastseek.modeling.losses.subcenter_arcface import SubcenterArcface
from fastseek.registry import LOSSES, build

COUNTS = torch.tensor([2, 10, 100, 1000])


def loss_of(call, counts=COUNTS, dim=6):
    return build(call, LOSSES, dims={"e": dim}, counts=counts)


def slow_loss(embedding, weight, targets, k, s, table):
    """Straight from the definition, in float64, one number at a time."""
    total = 0.0
    for row, target in zip(embedding.double(), targets.tolist(), strict=True):
        logits = []
        for label in range(len(table)):
            cosine = max(float(row @ centre / row.norm() / centre.norm())
                         for centre in weight.double()[label * k:(label + 1) * k])
            if label == target:
                m = float(table[label])
                moved = math.cos(math.acos(cosine) + m)
                cosine = moved if cosine > math.cos(math.pi - m) else cosine - m * math.sin(math.pi - m)
            logits.append(s * cosine)
        top = max(logits)
        total += top + math.log(sum(math.exp(value - top) for value in logits)) - logits[target]
    return total / len(embedding)


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("margin", [0.3, "'dynamic(0.05, 0.50)'"])
def test_the_loss_equals_its_definition(k, margin):
    """Landmark facts section 3; k = 1 is ArcFace (checklist row 26)."""
    loss = loss_of(f"subcenter_arcface('e', k={k}, s=30, margin={margin})")
    embedding, targets = torch.randn(5, 6), torch.tensor([0, 1, 2, 3, 3])
    expected = slow_loss(embedding, loss.weight.detach(), targets, k, 30.0, loss.margins)
    assert loss(embedding, targets).item() == pytest.approx(expected, rel=1e-5)


def test_the_worked_loss():
    """Landmark facts section 3: cosines (.35, .3, .1), target 0, m .5, s 45."""
    loss = loss_of("subcenter_arcface('e', k=1, s=45, margin=0.5)", torch.tensor([1, 1, 1]), dim=4)
    cosines = torch.tensor([0.35, 0.3, 0.1])
    with torch.no_grad():
        loss.weight.copy_(torch.zeros(3, 4))
        loss.weight[:, 0] = cosines
        loss.weight[torch.arange(3), torch.arange(1, 4)] = (1 - cosines.square()).sqrt()
    found = loss(torch.tensor([[2.0, 0, 0, 0]]), torch.tensor([0]))
    assert found.item() == pytest.approx(19.887777, abs=1e-4)


def test_a_zero_margin_is_the_cross_entropy_of_the_scaled_cosines():
    loss = loss_of("subcenter_arcface('e', k=1, s=16, margin=0.0)")
    embedding, targets = torch.randn(5, 6), torch.tensor([0, 1, 2, 3, 3])
    cosine = F.normalize(embedding) @ F.normalize(loss.weight).T
    torch.testing.assert_close(loss(embedding, targets), F.cross_entropy(16 * cosine, targets), rtol=1e-4, atol=1e-5)


def test_a_rare_class_pays_more_than_a_frequent_one():
    loss = loss_of("subcenter_arcface('e', k=1, s=5, margin='dynamic(0.05, 0.50)')")
    with torch.no_grad():
        loss.weight.copy_(torch.eye(4, 6))
    centres = torch.eye(4, 6) + 0.2
    rare, frequent = (loss(centres[[label]], torch.tensor([label])).item() for label in (0, 3))
    assert rare > frequent


@pytest.mark.parametrize("sign", [1, -1])
def test_a_vector_on_a_centre_gives_finite_value_and_gradients(sign):
    """Landmark checklist row 30: self-cosines exceed 1 by rounding, at the target and elsewhere."""
    embedding = torch.randn(64, 512)
    loss = loss_of("subcenter_arcface('e', k=1)", torch.ones(64, dtype=torch.int64), dim=512)
    with torch.no_grad():
        loss.weight.copy_(sign * embedding)
    embedding.requires_grad_()
    for targets in (torch.arange(64), torch.arange(64).flip(0)):
        value = loss(embedding, targets)
        value.backward()
        assert torch.isfinite(value)
        assert torch.isfinite(embedding.grad).all() and torch.isfinite(loss.weight.grad).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_changes_nothing(dtype):
    """Landmark checklist row 30: value and gradients of the float32 island."""
    loss = loss_of("subcenter_arcface('e')")
    targets = torch.tensor([0, 1, 2, 3, 3])
    embedding = torch.randn(5, 6, requires_grad=True)
    plain = loss(embedding, targets)
    gradient, = torch.autograd.grad(plain, embedding)
    with torch.autocast("cpu", dtype=dtype):
        mixed = loss(embedding, targets)
    assert torch.equal(mixed, plain) and torch.equal(torch.autograd.grad(mixed, embedding)[0], gradient)


def test_a_half_precision_embedding_stays_near_float32():
    """Landmark checklist row 30."""
    loss = loss_of("subcenter_arcface('e')")
    embedding, targets = torch.randn(5, 6), torch.tensor([0, 1, 2, 3, 3])
    torch.testing.assert_close(loss(embedding.half(), targets), loss(embedding, targets), rtol=2e-3, atol=2e-3)


def test_the_gradient_is_right_in_float64():
    loss = loss_of("subcenter_arcface('e', s=5)").double()
    targets = torch.tensor([0, 1, 3])
    embedding = torch.randn(3, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda value: loss(value, targets), embedding)


def test_weight_scales_the_loss_and_accuracy_is_kept():
    one, two = loss_of("subcenter_arcface('e')"), loss_of("subcenter_arcface('e', weight=0.5)")
    two.load_state_dict(one.state_dict())
    embedding, targets = one.weight.detach()[::3], torch.arange(4)
    torch.testing.assert_close(two(embedding, targets), 0.5 * one(embedding, targets))
    assert float(one.accuracy) == 1.0


def test_the_margins_follow_the_recipe_and_not_the_checkpoint():
    """A later step with another margin must not get the old table back with the weights."""
    assert set(loss_of("subcenter_arcface('e', margin='dynamic(0.05, 0.50)')").state_dict()) == {"weight"}


@pytest.mark.parametrize(("call", "says"), [
    ("subcenter_arcface('f')", "'f', only e"), ("subcenter_arcface('e', k=0)", "k must be"),
    ("subcenter_arcface('e', s=0)", "s must be"), ("subcenter_arcface('e', margin=4)", "radians"),
    ("subcenter_arcface('e', margin='dynamic(1)')", "low, high")])
def test_an_impossible_setting_is_a_usage_error(call, says):
    with pytest.raises(UsageError, match=says):
        loss_of(call)


def test_one_class_alone_costs_nothing():
    loss = SubcenterArcface("e", dims={"e": 6}, counts=torch.tensor([3]))
    assert loss(torch.randn(2, 6), torch.zeros(2, dtype=torch.int64)).item() == 0.0
