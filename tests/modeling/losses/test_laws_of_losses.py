"""What holds for every loss of pairs, ranks, proxies and margins alike."""

import pytest
import torch
from torch import nn

from fastseek import compat  # noqa: F401  (before fastreid)
from fastseek.errors import UsageError
from fastseek.modeling.layers.part_protocols import Classifier
from fastseek.registry import LOSSES, build

CALLS = [
    "contrastive('e')",
    "info_nce('e')",
    "supcon('e')",
    "multi_similarity('e')",
    "smooth_ap('e', temperature=0.2)",
    "roadmap('e', temperature=0.2, rho=2, delta=0.2)",
    "recall_at_k('e', ks=(1, 2), inner=0.2)",
    "hyperbolic('e')",
    "hyperbolic('e', curvature=0)",
    "proxy_anchor('e')",
    "proxy_nca('e')",
    "uni_face('e', s=16, margin=0.2)",
    "ada_face('e', s=16)",
    "elastic_face('e', s=16, order=True)",
    "elastic_face('e', 'cos', s=16, margin=0.35)",
    "mag_face('e', s=16, lengths=(0.5, 20))",
    "soft_triple('e', 2)",
    "matryoshka(\"supcon(on='e')\", sizes=(2, 4))",
    "matryoshka(\"ada_face(on='e', s=16)\", sizes=(2, 4), weights=(1, 0.5))",
]
TARGETS = torch.tensor([0, 0, 1, 1, 2, 1])
every_loss = pytest.mark.parametrize("call", CALLS)


def made(call):
    return build(call, LOSSES, dims={"e": 4}, counts=torch.tensor([9, 5, 2, 1]))


@every_loss
def test_the_gradient_is_right_in_float64(call):
    loss = made(call).double().eval()
    for name, buffer in loss.named_buffers():
        if name.endswith("mean_length"):  # so far that every margin is the largest: a constant
            buffer.fill_(1e3)
    rows = torch.randn(6, 4, dtype=torch.float64, requires_grad=True)
    weights = list(loss.parameters())
    assert torch.autograd.gradcheck(lambda value, *_: loss(value, TARGETS), (rows, *weights))


@every_loss
def test_permuting_the_batch_changes_nothing(call):
    loss, rows, order = made(call).double().eval(), torch.randn(6, 4).double(), torch.randperm(6)
    torch.testing.assert_close(loss(rows[order], TARGETS[order]), loss(rows, TARGETS))


@every_loss
@pytest.mark.parametrize("targets", [[3], [1, 1, 1], [0, 1, 2]], ids=str)
def test_poor_batches_give_finite_losses_and_gradients(call, targets):
    """One row, one class, no two rows of a class; and rows that are equal, or zero."""
    loss, several = made(call).train(), torch.randn(len(targets), 4)
    for rows in (several, several[:1].repeat(len(targets), 1), torch.zeros(len(targets), 4)):
        rows = rows.clone().requires_grad_()
        found = loss(rows, torch.tensor(targets))
        found.backward()
        assert found.isfinite() and rows.grad.isfinite().all(), rows


@every_loss
def test_mixed_precision_changes_nothing(call):
    loss, rows = made(call).eval(), torch.randn(6, 4)
    plain = loss(rows, TARGETS)
    for dtype in (torch.bfloat16, torch.float16):
        with torch.autocast("cpu", dtype=dtype):
            assert torch.equal(loss(rows, TARGETS), plain)
            half = loss(rows.to(dtype), TARGETS)
        assert half.dtype == torch.float32
        assert torch.equal(half, loss(rows.to(dtype).float(), TARGETS))


@every_loss
def test_what_was_passed_in_is_not_changed_and_the_state_is_all_there_is(call):
    loss, other = made(call).train(), made(call)
    rows, targets = torch.randn(6, 4), TARGETS.clone()
    before = rows.clone()
    loss(rows, targets)
    assert torch.equal(rows, before) and torch.equal(targets, TARGETS)
    other.load_state_dict(loss.state_dict())
    assert torch.equal(other.eval()(rows, targets), loss.eval()(rows, targets))


@every_loss
def test_ten_steps_lower_the_loss(call):
    loss, net = made(call).train(), nn.Linear(8, 4)
    classes = torch.arange(12) % 3
    rows = torch.randn(3, 8)[classes] + 0.7 * torch.randn(12, 8)
    optimizer = torch.optim.Adam([*net.parameters(), *loss.parameters()], lr=0.02)
    values = []
    for _ in range(11):
        optimizer.zero_grad()
        found = loss(net(rows), classes)
        found.backward()
        optimizer.step()
        values.append(found.item())
    assert values[-1] < 0.95 * values[0], values


@every_loss
def test_a_loss_with_class_weights_classifies_and_one_of_pairs_does_not(call):
    loss = made(call)
    assert isinstance(loss, Classifier) == bool(list(loss.parameters()))
    if isinstance(loss, Classifier):
        assert loss.logits(torch.randn(2, 4)).shape == (2, 4)
        loss(torch.randn(6, 4), TARGETS)
        assert 0 <= loss.accuracy <= 1


ILLEGAL = [
    ("contrastive('e', 0)", "margin"),
    ("info_nce('e', 0.0)", "temperature"),
    ("supcon('e', -1)", "temperature"),
    ("multi_similarity('e', alpha=0)", "alpha"),
    ("multi_similarity('e', base=2)", "base"),
    ("multi_similarity('e', epsilon=-0.1)", "epsilon"),
    ("smooth_ap('e', 0)", "temperature"),
    ("roadmap('e', balance=2)", "balance"),
    ("roadmap('e', cosines=(0.9,))", "cosines"),
    ("roadmap('e', cosines=(0.9, -2))", "beta"),
    ("roadmap('e', delta=-1)", "delta"),
    ("recall_at_k('e', ks=())", "ks"),
    ("recall_at_k('e', ks=(1, 0.5))", "ks"),
    ("recall_at_k('e', outer=0)", "outer"),
    ("hyperbolic('e', -1)", "curvature"),
    ("hyperbolic('e', clip=0)", "clip"),
    ("proxy_anchor('e', alpha=0)", "alpha"),
    ("proxy_anchor('e', delta=3)", "delta"),
    ("proxy_nca('e', 0)", "temperature"),
    ("uni_face('e', balance=-1)", "balance"),
    ("uni_face('e', s=0)", "s must be positive"),
    ("ada_face('e', h=0)", "h must be"),
    ("ada_face('e', momentum=1.5)", "momentum"),
    ("ada_face('e', margin=2.0)", "pi/2"),
    ("elastic_face('e', 'sin')", "kind"),
    ("elastic_face('e', sigma=-1)", "sigma"),
    ("mag_face('e', lengths=(9, 2))", "lengths"),
    ("mag_face('e', lengths=(0, 2))", "low_length"),
    ("mag_face('e', margins=(0.1, 2))", "pi/2"),
    ("mag_face('e', price=-1)", "price"),
    ("soft_triple('e', 0)", "k must be"),
    ("soft_triple('e', gamma=0)", "gamma"),
    ("soft_triple('e', tau=-1)", "tau"),
    ("matryoshka(\"supcon('e')\", ())", "sizes"),
    ("matryoshka(\"supcon('e')\", (4, 2))", "sizes"),
    ("matryoshka(\"supcon('e')\", (2, 4), (1,))", "weights"),
    ("matryoshka(\"supcon('e', 0)\", (2,))", "temperature"),
    ("matryoshka(\"supcon('f')\", (2,))", "'f', only e"),
    *((f"{call.split('(')[0]}('f')", "'f', only e") for call in CALLS[:-2]),
]


@pytest.mark.parametrize(("call", "says"), ILLEGAL, ids=[one[0] for one in ILLEGAL])
def test_an_impossible_setting_is_a_usage_error(call, says):
    with pytest.raises(UsageError, match=says):
        made(call)


def test_a_matryoshka_loss_is_the_sum_over_its_prefixes():
    whole = made("matryoshka(\"proxy_nca(on='e')\", sizes=(1, 3, 4), weights=(1, 0.5, 2))")
    rows, expected = torch.randn(6, 4), 0.0
    for number, (size, weight) in enumerate(((1, 1), (3, 0.5), (4, 2))):
        part = build("proxy_nca('e')", LOSSES, dims={"e": size}, counts=torch.ones(4))
        part.load_state_dict(whole.losses[number].state_dict())
        expected = expected + weight * part(rows[:, :size], TARGETS)
    torch.testing.assert_close(whole(rows, TARGETS), expected)
    torch.testing.assert_close(whole.logits(rows), part.logits(rows))


def test_a_prefix_longer_than_the_embedding_is_told_before_the_first_step():
    loss = made("matryoshka(\"supcon(on='e')\", sizes=(2, 8))")
    with pytest.raises(UsageError, match="prefix of 8 numbers, and 'e' has 4"):
        loss.start_training(10)
    with pytest.raises(UsageError, match="prefix of 8"):
        loss(torch.randn(6, 4), TARGETS)
