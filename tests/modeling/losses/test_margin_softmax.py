"""The four cosine classifiers against their definitions, written out in loops."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fastseek.errors import UsageError
from fastseek.modeling.losses.arcface import Arcface
from fastseek.modeling.losses.subcenter_arcface import SubcenterArcface
from fastseek.registry import LOSSES, build

NAMES = ["arcface", "am_softmax", "curricular", "circle"]
COUNTS, DIMS = torch.tensor([9, 9, 9, 9, 9]), {"e": 6}
TARGETS = torch.tensor([0, 1, 2, 3, 4, 4, 0])


def made(call):
    return build(call, LOSSES, dims=DIMS, counts=COUNTS).train()


def arc(own, m):
    return (
        math.cos(math.acos(own) + m)
        if own > math.cos(math.pi - m)
        else own - m * math.sin(math.pi - m)
    )


def slow_logits(name, row, label, m, t):
    """Fine-grained facts 2.2; Circle: Sun et al. 2020, equation 6 and 7 with O_p = 1 + m, O_n =
    -m.
    """
    own, out = row[label], []
    for index, value in enumerate(row):
        if name == "circle":
            value = (
                max(1 + m - value, 0) * (value - (1 - m))
                if index == label
                else max(value + m, 0) * (value - m)
            )
        elif index == label:
            value = own - m if name == "am_softmax" else arc(own, m)
        elif name == "curricular" and value > math.cos(math.acos(own) + m):
            value = value * (t + value)
        out.append(value)
    return out


def cosines(loss, vectors):
    return (F.normalize(vectors.double()) @ F.normalize(loss.weight.detach().double()).T).tolist()


def slow_average(loss, vectors, t):
    own = [row[label] for row, label in zip(cosines(loss, vectors), TARGETS.tolist(), strict=True)]
    return 0.99 * t + 0.01 * sum(own) / len(own)


def slow_loss(name, loss, vectors, m, t=0.0):
    total = 0.0
    for row, label in zip(cosines(loss, vectors), TARGETS.tolist(), strict=True):
        logits = [loss.s * value for value in slow_logits(name, row, label, m, t)]
        total += (
            math.log(sum(math.exp(value - max(logits)) for value in logits))
            + max(logits)
            - logits[label]
        )
    return total / len(TARGETS)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("margin", [0.0, 0.35, 1.2])
def test_the_loss_equals_its_definition(name, margin):
    """finegrained row 35; trap 13: ArcFace is not CurricularFace."""
    loss, t = made(f"{name}('e', s=20.0, margin={margin}, weight=1.0, dropout=0.0)"), 0.0
    for _ in range(3):
        vectors = torch.randn(7, 6)
        t = slow_average(loss, vectors, t)
        expected = slow_loss(name, loss, vectors, margin, t)
        assert loss(vectors, TARGETS).item() == pytest.approx(expected, rel=2e-5, abs=1e-6)
    if name == "curricular":
        assert loss.t.item() == pytest.approx(t, rel=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_the_margin_grows_linearly_from_nothing(name):
    """finegrained row 36."""
    loss, vectors = (
        made(f"{name}('e', s=20.0, margin=0.4, weight=1.0, dropout=0.0, warm=10)").eval(),
        torch.randn(7, 6),
    )
    for step, margin in ((0, 0.0), (1, 0.04), (5, 0.2), (9, 0.36), (10, 0.4), (1000, 0.4)):
        loss.at_step(step)
        expected = slow_loss(name, loss, vectors, margin)
        assert loss(vectors, TARGETS).item() == pytest.approx(expected, rel=2e-5)


@pytest.mark.parametrize("name", NAMES)
def test_without_warm_up_the_margin_is_there_from_the_start(name):
    fresh, told = made(f"{name}('e', dropout=0.0)"), made(f"{name}('e', dropout=0.0)")
    told.load_state_dict(fresh.state_dict())
    told.at_step(0)
    vectors = torch.randn(7, 6)
    assert torch.equal(fresh(vectors, TARGETS), told(vectors, TARGETS))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_cosines_of_one_and_minus_one_give_finite_losses_and_gradients(name, sign):
    """finegrained row 35."""
    loss = made(f"{name}('e', dropout=0.0)")
    with torch.no_grad():
        loss.weight.copy_(torch.eye(6)[:5])
    vectors = (sign * torch.eye(6)[TARGETS]).requires_grad_()
    found = loss(vectors, TARGETS)
    found.backward()
    assert found.isfinite() and vectors.grad.isfinite().all() and loss.weight.grad.isfinite().all()


@pytest.mark.parametrize("name", NAMES)
def test_both_presets_of_the_contest_are_kept_and_single_values_win_over_them(name):
    """finegrained row 35; trap 14."""
    for preset, expected in (("paper", (30, 0.35, 0.25, 0.0)), ("repo", (35, 0.30, 1.0, 0.2))):
        loss = made(f"{name}('e', preset='{preset}')")
        assert (loss.s, loss.factor, loss.dropout) == (expected[0], *expected[2:])
        assert loss.margins.tolist() == pytest.approx([expected[1]] * 5)
    mixed = made(f"{name}('e', s=10.0, weight=0.0, preset='repo')")
    assert (mixed.s, mixed.factor, mixed.dropout) == (10.0, 0.0, 0.2)


def test_the_preset_seed_is_paper_with_a_warning():
    with pytest.warns(DeprecationWarning, match="'paper'"):
        old = made("arcface('e', preset='seed')")
    assert (old.s, old.factor, old.dropout) == (30.0, 0.25, 0.0)


def test_curricular_counts_a_harder_class_by_t_plus_its_cosine():
    """trap 13: only CurricularFace touches the other classes."""
    loss, arcface = (
        made("curricular('e', s=1.0, margin=0.3)"),
        made("arcface('e', s=1.0, margin=0.3)"),
    )
    loss.t.fill_(0.5)
    cosine, own, margin = (
        torch.tensor([[0.6, 0.5, 0.1]]),
        torch.tensor([[0.6]]),
        torch.tensor([[0.3]]),
    )
    border = math.cos(math.acos(0.6) + 0.3)
    assert 0.1 < border < 0.5
    others, moved = loss.eval().apply_margin(cosine, own, margin)
    assert moved.item() == pytest.approx(border)
    assert others[0, 1:].tolist() == pytest.approx([0.5 * (0.5 + 0.5), 0.1])
    others, moved = arcface.apply_margin(cosine, own, margin)
    assert moved.item() == pytest.approx(border) and torch.equal(others, cosine)


def test_the_average_of_curricular_is_no_gradient_and_stands_still_in_evaluation():
    """trap 13: t is also updated in eval."""
    loss = made("curricular('e')")
    vectors = torch.randn(7, 6)
    assert loss.t.item() == 0 and not loss.t.requires_grad
    with torch.no_grad():
        loss(vectors, TARGETS)
    loss.eval()(vectors, TARGETS)
    assert loss.t.item() == 0
    loss.train()(vectors, TARGETS)
    assert loss.t.item() != 0 and "t" in loss.state_dict()


def test_two_forwards_of_curricular_before_a_backward_do_not_spoil_each_other():
    loss, vectors = made("curricular('e', dropout=0.0)"), torch.randn(7, 6, requires_grad=True)
    first = loss(vectors, TARGETS)
    (expected,) = torch.autograd.grad(first, vectors, retain_graph=True)
    loss(vectors, TARGETS)
    assert torch.equal(torch.autograd.grad(first, vectors)[0], expected)


@pytest.mark.parametrize("name", NAMES)
def test_the_scores_of_the_classes_have_no_margin(name):
    loss, vectors = made(f"{name}('e', s=7.0)").eval(), torch.randn(7, 6)
    torch.testing.assert_close(loss.logits(vectors), 7 * torch.tensor(cosines(loss, vectors)))


def test_arcface_is_sub_center_arcface_with_one_center():
    one = made("arcface('e', s=30, margin='dynamic(0.05, 0.5)', smoothing=0.1)")
    other = SubcenterArcface("e", 1, 30, "dynamic(0.05, 0.5)", 0.1, dims=DIMS, counts=COUNTS)
    other.load_state_dict(one.state_dict())
    vectors = torch.randn(7, 6)
    torch.testing.assert_close(one(vectors, TARGETS), other(vectors, TARGETS))


def test_dropout_stands_on_the_embedding_of_length_one_and_only_in_training():
    """finegrained row 35: dropout inside the head."""
    loss = Arcface("e", dropout=0.5, dims={"e": 2000}, counts=COUNTS)
    with torch.no_grad():
        loss.weight.fill_(1.0)
    vectors = torch.ones(1, 2000) * 7
    assert loss.eval().cosine(vectors)[0, 0].item() == pytest.approx(1.0, abs=1e-4)
    values = torch.stack([loss.train().cosine(vectors)[0, 0] for _ in range(50)])
    # Half of the values count twice: 1 on the average, deviation 1/sqrt(2000) = 0.022, clamped at
    # 1.
    assert (
        values.max() <= 1.0
        and values.min() < 0.98
        and values.mean().item() == pytest.approx(0.991, abs=0.01)
    )


@pytest.mark.parametrize("name", ["arcface", "am_softmax"])
def test_the_gradient_is_right_in_float64(name):
    loss = made(f"{name}('e', s=5.0)").double()
    vectors = torch.randn(7, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda value: loss(value, TARGETS), vectors)


def test_the_weights_of_circle_loss_get_no_gradient():
    loss = made("circle('e', s=2.0, margin=0.25)")
    cosine = torch.tensor([[0.3, 0.4]], requires_grad=True)
    others, own = loss.apply_margin(cosine, cosine[:, :1], torch.full((1, 1), 0.25))
    (others[:, 1:].sum() + own.sum()).backward()
    assert cosine.grad[0].tolist() == pytest.approx([1.25 - 0.3, 0.4 + 0.25])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_changes_nothing(name, dtype):
    loss, vectors = made(f"{name}('e', dropout=0.0)").eval(), torch.randn(7, 6)
    with torch.autocast("cpu", dtype=dtype):
        mixed = loss(vectors, TARGETS)
    assert torch.equal(mixed, loss(vectors, TARGETS))


@pytest.mark.parametrize("name", NAMES)
def test_gradient_descent_finds_the_classes(name):
    loss = made(f"{name}('e', dropout=0.0)")
    vectors = nn.Parameter(torch.randn(7, 6))
    optimizer = torch.optim.Adam([vectors, *loss.parameters()], lr=0.05)
    for _ in range(60):
        optimizer.zero_grad()
        loss(vectors, TARGETS).backward()
        optimizer.step()
    assert loss.accuracy == 1.0


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("'f'", "'f', only e"),
        ("'e', preset='mine'", "paper, repo"),
        ("'e', s=0.0", "positive"),
        ("'e', dropout=1.0", "dropout"),
        ("'e', margin=2.0", "pi/2"),
        ("'e', warm=-1", "warm"),
        ("'e', warm=0.5", "whole"),
    ],
)
def test_an_impossible_setting_is_a_usage_error(name, options, says):
    with pytest.raises(UsageError, match=says):
        made(f"{name}({options})")
