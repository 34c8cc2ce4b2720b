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
            cosine = max(
                float(row @ centre / row.norm() / centre.norm())
                for centre in weight.double()[label * k : (label + 1) * k]
            )
            if label == target:
                m = float(table[label])
                moved = math.cos(math.acos(cosine) + m)
                cosine = (
                    moved if cosine > math.cos(math.pi - m) else cosine - m * math.sin(math.pi - m)
                )
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
    torch.testing.assert_close(
        loss(embedding, targets), F.cross_entropy(16 * cosine, targets), rtol=1e-4, atol=1e-5
    )


def test_a_rare_class_pays_more_than_a_frequent_one():
    loss = loss_of("subcenter_arcface('e', k=1, s=5, margin='dynamic(0.05, 0.50)')")
    with torch.no_grad():
        loss.weight.copy_(torch.eye(4, 6))
    centres = torch.eye(4, 6) + 0.2
    rare, frequent = (loss(centres[[label]], torch.tensor([label])).item() for label in (0, 3))
    assert rare > frequent


@pytest.mark.parametrize("sign", [1, -1])
def test_a_vector_on_a_centre_gives_finite_value_and_gradients(sign):
    """landmark row 30: self-cosines exceed 1 by rounding, at the target and elsewhere."""
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
    """landmark row 30: value and gradients of the float32 island."""
    loss = loss_of("subcenter_arcface('e')")
    targets = torch.tensor([0, 1, 2, 3, 3])
    embedding = torch.randn(5, 6, requires_grad=True)
    plain = loss(embedding, targets)
    (gradient,) = torch.autograd.grad(plain, embedding)
    with torch.autocast("cpu", dtype=dtype):
        mixed = loss(embedding, targets)
    assert torch.equal(mixed, plain) and torch.equal(
        torch.autograd.grad(mixed, embedding)[0], gradient
    )


def test_a_half_precision_embedding_stays_near_float32():
    """landmark row 30."""
    loss = loss_of("subcenter_arcface('e')")
    embedding, targets = torch.randn(5, 6), torch.tensor([0, 1, 2, 3, 3])
    torch.testing.assert_close(
        loss(embedding.half(), targets), loss(embedding, targets), rtol=2e-3, atol=2e-3
    )


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
    assert set(loss_of("subcenter_arcface('e', margin='dynamic(0.05, 0.50)')").state_dict()) == {
        "weight"
    }


@pytest.mark.parametrize(
    ("call", "says"),
    [
        ("subcenter_arcface('f')", "'f', only e"),
        ("subcenter_arcface('e', k=0)", "k must be"),
        ("subcenter_arcface('e', s=0)", "s must be"),
        ("subcenter_arcface('e', margin=4)", "radians"),
        ("subcenter_arcface('e', margin='dynamic(1)')", "low, high"),
        ("subcenter_arcface('e', chunk=-1)", "chunk"),
        ("subcenter_arcface('e', sample=0.0)", "share"),
        ("subcenter_arcface('e', smoothing=1.1)", "smoothing"),
    ],
)
def test_an_impossible_setting_is_a_usage_error(call, says):
    with pytest.raises(UsageError, match=says):
        loss_of(call)


def test_one_class_alone_costs_nothing():
    loss = SubcenterArcface("e", dims={"e": 6}, counts=torch.tensor([3]))
    assert loss(torch.randn(2, 6), torch.zeros(2, dtype=torch.int64)).item() == 0.0


@pytest.mark.parametrize("options", ["", ", smoothing=0.1", ", k=1"])
def test_chunks_change_neither_value_nor_gradients(options):
    """landmark row 32."""
    whole, chunked = (
        loss_of(
            f"subcenter_arcface('e', margin='dynamic(0.05, 0.50)', chunk={chunk}{options})"
        ).double()
        for chunk in (0, 3)
    )
    chunked.load_state_dict(whole.state_dict())
    embedding = torch.randn(7, 6, dtype=torch.float64, requires_grad=True)
    targets = torch.tensor([0, 1, 2, 3, 3, 0, 2])
    pair = [(loss(embedding, targets), loss) for loss in (whole, chunked)]
    torch.testing.assert_close(pair[0][0], pair[1][0])
    for found, expected in zip(
        *(torch.autograd.grad(value, (embedding, loss.weight)) for value, loss in pair), strict=True
    ):
        torch.testing.assert_close(found, expected)
    assert whole.accuracy == chunked.accuracy


def test_the_worked_loss_holds_in_chunks():
    """Landmark facts section 3."""
    loss = loss_of(
        "subcenter_arcface('e', k=1, s=45, margin=0.5, chunk=1)", torch.tensor([1, 1, 1]), dim=4
    )
    cosines = torch.tensor([0.35, 0.3, 0.1])
    with torch.no_grad():
        loss.weight.copy_(
            torch.cat([cosines[:, None], torch.diag((1 - cosines.square()).sqrt())], dim=1)
        )
    assert loss(torch.tensor([[2.0, 0, 0, 0]]), torch.tensor([0])).item() == pytest.approx(
        19.887777, abs=1e-4
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_changes_nothing_in_chunks(dtype):
    """landmark row 30: also when backward runs inside autocast."""
    loss = loss_of("subcenter_arcface('e', chunk=3)")
    targets = torch.tensor([0, 1, 2, 3, 3])
    embedding = torch.randn(5, 6, requires_grad=True)
    plain = loss(embedding, targets)
    (gradient,) = torch.autograd.grad(plain, embedding)
    with torch.autocast("cpu", dtype=dtype):
        mixed = loss(embedding, targets)
        (same,) = torch.autograd.grad(mixed, embedding)
    assert torch.equal(mixed, plain) and torch.equal(same, gradient)


def test_many_classes_are_told_with_their_memory(caplog, monkeypatch):
    """landmark row 32: the memory budget is reported, once."""
    monkeypatch.setattr("fastseek.modeling.layers.streamed.AUTOMATIC", 10)
    loss = loss_of("subcenter_arcface('e')")
    with caplog.at_level("INFO", "fastreid.fastseek"):
        for _ in range(2):
            loss(torch.randn(2, 6), torch.tensor([0, 3]))
    assert (
        len(caplog.records) == 1
        and "4 classes x 3 centers x 6" in caplog.text
        and "GB" in caplog.text
    )


def test_sampling_all_classes_is_the_loss_itself():
    """landmark row 32: as many as there are, drawn or not."""
    plain, sampled = (
        loss_of("subcenter_arcface('e')"),
        loss_of("subcenter_arcface('e', sample=0.9999)"),
    )
    sampled.load_state_dict(plain.state_dict())
    embedding, targets = torch.randn(5, 6), torch.tensor([0, 1, 2, 3, 3])
    torch.testing.assert_close(sampled(embedding, targets), plain(embedding, targets))


@pytest.mark.parametrize("chunk", [0, 2])
def test_a_sampled_step_moves_the_chosen_classes_only(chunk):
    """landmark row 32: margins and targets stay with their classes; the rest has a gradient of
    zero, for DDP.
    """
    counts = torch.arange(1, 41)
    loss = loss_of(
        f"subcenter_arcface('e', sample=0.2, margin='dynamic(0.05, 0.50)', chunk={chunk})", counts
    ).double()
    loss.at_step(5)
    embedding, targets = torch.randn(3, 6, dtype=torch.float64), torch.tensor([39, 4, 4])
    value = loss(embedding, targets)
    value.backward()
    moved = loss.weight.grad.unflatten(0, (40, 3)).abs().sum((1, 2)) > 0
    chosen = loss.sampled(targets)[0]
    assert (
        len(chosen) == 8
        and set(moved.nonzero()[:, 0].tolist()) <= set(chosen.tolist())
        and moved[[4, 39]].all()
    )
    expected = slow_loss(
        embedding,
        loss.weight.detach().unflatten(0, (40, 3))[chosen].flatten(0, 1),
        torch.searchsorted(chosen, targets),
        3,
        45.0,
        loss.margins[chosen],
    )
    assert value.item() == pytest.approx(expected)


def test_the_step_decides_the_draw_and_evaluation_looks_at_all():
    loss = loss_of("subcenter_arcface('e', sample=0.1)", torch.ones(200, dtype=torch.int64))
    embedding, targets = torch.randn(3, 6), torch.tensor([0, 1, 2])
    values = []
    for step in (0, 1, 0):
        loss.at_step(step)
        values.append(loss(embedding, targets).item())
    assert values[0] == values[2] != values[1]
    whole = loss_of("subcenter_arcface('e')", torch.ones(200, dtype=torch.int64))
    whole.load_state_dict(loss.state_dict())
    assert loss.eval()(embedding, targets) == whole(embedding, targets)


def test_an_empty_class_has_a_row_and_a_margin():
    """landmark row 28."""
    loss = loss_of("subcenter_arcface('e', margin='dynamic(0.05, 0.50)')", torch.tensor([4, 0, 9]))
    assert loss.weight.shape == (9, 6) and loss.margins.tolist() == pytest.approx([0.5, 0.5, 0.05])
    assert torch.isfinite(loss(torch.randn(2, 6), torch.tensor([0, 2])))
