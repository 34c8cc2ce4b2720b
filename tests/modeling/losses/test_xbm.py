import math

import pytest
import torch
import torch.nn.functional as F

from fastseek.errors import UsageError
from fastseek.modeling.losses.xbm import Xbm
from fastseek.registry import LOSSES, build

DIMS = {"e": 3}


def xbm(**options):
    return Xbm("e", **{"start": 0, "size": 10, **options}, dims=DIMS).train()


def slow_triplet(vectors, targets, memory, margin):
    """Fine-grained facts 1.2 over a list of (vector, label), in float64."""
    total = 0.0
    for anchor, label in zip(vectors.double(), targets.tolist(), strict=True):
        far = [
            math.sqrt(max(float((anchor - row).square().sum()), 1e-12))
            for row, its in memory
            if its == label
        ]
        near = [
            math.sqrt(max(float((anchor - row).square().sum()), 1e-12))
            for row, its in memory
            if its != label
        ]
        if far and near:
            gap = max(far) - min(near)
            total += math.log1p(math.exp(gap)) if margin is None else max(gap + margin, 0.0)
    return total / len(targets)


def slow_contrastive(vectors, targets, memory, margin):
    """Fine-grained facts 2.2: positives with cos >= 1 - 1e-5 are the row itself."""
    total = 0.0
    for anchor, label in zip(vectors.double(), targets.tolist(), strict=True):
        for row, its in memory:
            cosine = float(F.cosine_similarity(anchor, row, dim=0))
            if its != label:
                total += max(cosine - margin, 0.0)
            elif cosine < 1 - 1e-5:
                total += 1 - cosine
    return total / len(targets)


@pytest.mark.parametrize("size", [1, 4, 10, 23])
def test_the_memory_holds_exactly_the_newest_rows_in_order(size):
    """finegrained row 37; trap 17: overflow is circular."""
    loss, slow, seen = xbm(size=size), [], 0
    for rows in (3, 5, 1, 7, 4, 12, 2):
        vectors, targets = torch.randn(rows, 3), torch.randint(0, 4, (rows,))
        loss(vectors, targets)
        slow, seen = [*slow, *zip(vectors, targets.tolist(), strict=True)][-size:], seen + rows
        found, labels = loss.contents()
        assert len(labels) == min(size, seen) and labels.tolist() == [label for _, label in slow]
        assert torch.equal(found, torch.stack([row for row, _ in slow]))


@pytest.mark.parametrize(
    ("kind", "margin", "twin"),
    [
        ("triplet", 0.3, slow_triplet),
        ("triplet", None, slow_triplet),
        ("contrastive", 0.5, slow_contrastive),
        ("contrastive", 0.0, slow_contrastive),
    ],
)
def test_the_loss_is_taken_against_a_memory_that_has_the_batch_already(kind, margin, twin):
    """finegrained row 37; trap 22: the memory's loss alone."""
    loss, slow = xbm(loss=kind, margin=margin, weight=0.5), []
    for _ in range(5):
        vectors, targets = torch.randn(4, 3), torch.randint(0, 3, (4,))
        slow = [*slow, *zip(vectors.double(), targets.tolist(), strict=True)][-10:]
        expected = 0.5 * twin(vectors, targets, slow, margin)
        assert loss(vectors, targets).item() == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_label_zero_counts_like_any_other():
    """finegrained row 37; trap 17: the reference takes a last label of 0 for a memory that is not
    full.
    """
    shifted, plain = xbm(size=4), xbm(size=4)
    for _ in range(3):
        vectors, targets = torch.randn(4, 3), torch.tensor([1, 0, 1, 0])
        assert torch.equal(plain(vectors, targets), shifted(vectors, targets + 5))
    assert len(plain.contents()[1]) == 4


def test_an_empty_slot_is_no_row_of_class_zero():
    """trap 17: the unused slots are zeros with label 0."""
    vectors, targets = (
        torch.tensor([[1.0, 0, 0], [1.1, 0, 0], [3.0, 0, 0]]),
        torch.tensor([0, 0, 1]),
    )
    memory = list(zip(vectors.double(), targets.tolist(), strict=True))
    found = xbm(size=100, margin=5.0)(vectors, targets)
    assert found.item() == pytest.approx(slow_triplet(vectors, targets, memory, 5.0), rel=1e-5)


@pytest.mark.parametrize("kind", ["triplet", "contrastive"])
def test_the_memory_gets_no_gradient(kind):
    loss, first = xbm(loss=kind, margin=0.0), torch.randn(3, 3, requires_grad=True)
    loss(first, torch.tensor([0, 1, 1]))
    second = torch.randn(3, 3, requires_grad=True)
    loss(second, torch.tensor([0, 1, 2])).backward()
    assert first.grad is None and second.grad.abs().sum() > 0
    assert not loss.contents()[0].requires_grad and list(loss.parameters()) == []


def test_it_is_switched_on_and_off_by_the_step():
    """finegrained rows 37 and 38."""
    loss, vectors, targets = xbm(start=3, stop=6), torch.randn(4, 3), torch.tensor([0, 0, 1, 1])
    for step in range(9):
        loss.at_step(step)
        before = loss.seen.clone()
        found = loss(vectors.requires_grad_(), targets)
        found.backward()
        on = 3 <= step < 6
        assert (found.item() > 0) == on and loss.seen.item() - before.item() == 4 * on


def test_on_then_off_is_a_start_of_zero_and_a_stop():
    """finegrained row 38."""
    loss = build("xbm('e', start=0, stop=2, size=8)", LOSSES, dims=DIMS, counts=torch.tensor([1]))
    states = []
    for step in range(4):
        loss.at_step(step)
        states.append(loss.active)
    assert states == [True, True, False, False]


def test_a_memory_that_waits_for_its_step_is_empty_and_costs_nothing():
    loss = Xbm("e", dims=DIMS).train()
    assert loss(torch.randn(4, 3), torch.tensor([0, 0, 1, 1])).item() == 0 and loss.seen == 0


def test_evaluation_and_passes_without_gradient_leave_the_memory_alone():
    loss = xbm()
    with torch.no_grad():
        loss(torch.randn(4, 3), torch.tensor([0, 0, 1, 1]))
    loss.eval()(torch.randn(4, 3), torch.tensor([0, 0, 1, 1]))
    assert loss.seen == 0 and (loss.rows == 0).all()


def test_a_resumed_memory_goes_on_where_it_was():
    """finegrained row 37."""
    whole, batches = xbm(), [(torch.randn(4, 3), torch.randint(0, 3, (4,))) for _ in range(6)]
    for one in batches[:3]:
        whole(*one)
    resumed = xbm()
    resumed.load_state_dict(whole.state_dict())
    for one in batches[3:]:
        assert torch.equal(whole(*one), resumed(*one))
    assert all(torch.equal(a, b) for a, b in zip(whole.contents(), resumed.contents(), strict=True))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("kind", ["triplet", "contrastive"])
def test_a_memory_in_half_precision_is_half_as_large_and_nearly_the_same(dtype, kind):
    """finegrained row 37: memory in AMP dtype."""
    half, full = xbm(dtype=dtype, loss=kind), xbm(loss=kind)
    for _ in range(3):
        vectors, targets = torch.randn(4, 3), torch.tensor([0, 0, 1, 1])
        a, b = half(vectors, targets), full(vectors, targets)
        assert a.dtype == torch.float32
        torch.testing.assert_close(a, b, rtol=0.02, atol=0.02)
    assert half.rows.dtype == getattr(torch, dtype) and half.rows.nbytes * 2 == full.rows.nbytes


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_changes_nothing(dtype):
    mixed, plain, vectors, targets = xbm(), xbm(), torch.randn(4, 3), torch.tensor([0, 0, 1, 1])
    with torch.autocast("cpu", dtype=dtype):
        found = mixed(vectors, targets)
    assert torch.equal(found, plain(vectors, targets)) and torch.equal(mixed.rows, plain.rows)


def test_normalised_rows_forget_their_length():
    one, other = xbm(normalize=True), xbm(normalize=True)
    for _ in range(3):
        vectors, targets = torch.randn(4, 3), torch.tensor([0, 0, 1, 1])
        torch.testing.assert_close(one(vectors, targets), other(vectors * 3, targets))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("'f'", "'f', only e"),
        ("'e', size=0", "size"),
        ("'e', start=5, stop=4", "stop"),
        ("'e', loss='circle'", "loss"),
        ("'e', dtype='int8'", "dtype"),
        ("'e', margin=-1.0", "negative"),
        ("'e', loss='contrastive', margin=None", "number"),
        ("'e', margin='big'", "number or None"),
    ],
)
def test_an_impossible_setting_is_a_usage_error(options, says):
    with pytest.raises(UsageError, match=says):
        build(f"xbm({options})", LOSSES, dims=DIMS, counts=torch.tensor([1]))
