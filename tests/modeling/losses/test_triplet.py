import math

import pytest
import torch

from fastseek import compat  # noqa: F401  (before fastreid)
from fastseek.errors import UsageError
from fastseek.modeling.losses.triplet import Triplet
from fastseek.registry import LOSSES, build

from fastreid.modeling.losses import triplet_loss as fastreid_triplet

DIMS = {"e": 3}


def slow_triplet(vectors, targets, margin):
    """Fine-grained facts 1.2 with loops over all pairs, in float64."""
    costs = []
    for anchor, label in zip(vectors.double(), targets.tolist(), strict=True):
        near, far = [], []
        for other, its in zip(vectors.double(), targets.tolist(), strict=True):
            distance = math.sqrt(max(float((anchor - other).square().sum()), 1e-12))
            (far if its == label else near).append(distance)
        if not near:
            costs.append(0.0)
        elif margin is None:
            costs.append(math.log1p(math.exp(max(far) - min(near))))
        else:
            costs.append(max(max(far) - min(near) + margin, 0.0))
    return sum(costs) / len(costs)


@pytest.mark.parametrize("margin", [0.3, 0.0, 5.0, None])
@pytest.mark.parametrize(
    "targets", [[0, 0, 1, 1, 2, 2], [0, 0, 0, 1, 1, 2], [0, 1, 2, 3, 4, 5], [7, 7, 7, 7, 7, 7]]
)
def test_the_loss_equals_its_definition_also_for_unequal_classes(margin, targets):
    """finegrained row 12; trap 4: unequal K, mean over all anchors."""
    vectors, targets = torch.randn(6, 3), torch.tensor(targets)
    found = Triplet("e", margin, dims=DIMS)(vectors, targets)
    assert float(found) == pytest.approx(slow_triplet(vectors, targets, margin), rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("margin", [0.3, None])
def test_it_equals_fast_reids_own_on_equal_classes(margin):
    vectors, targets = torch.randn(8, 3), torch.tensor([0, 0, 1, 1, 2, 2, 3, 3])
    theirs = fastreid_triplet(vectors, targets, margin or 0.0, False, True)
    torch.testing.assert_close(
        Triplet("e", margin, dims=DIMS)(vectors, targets), theirs, rtol=1e-4, atol=1e-5
    )


def test_two_pictures_of_the_same_margin_cost_the_same():
    """Fine-grained facts 1.2: (d_p, d_n) = (0.3, 0.5) and (1.3, 1.5) both give 0.1."""
    for near, far in ((0.3, 0.5), (1.3, 1.5)):
        vectors = torch.tensor([[0.0, 0, 0], [near, 0, 0], [-far, 0, 0]])
        loss = Triplet("e", 0.3, dims=DIMS)
        assert float(loss(vectors, torch.tensor([0, 0, 1]))) * 3 == pytest.approx(0.1 + 0, abs=1e-6)


def test_identical_vectors_give_finite_gradients():
    vectors = torch.ones(4, 3, requires_grad=True)
    Triplet("e", dims=DIMS)(vectors, torch.tensor([0, 0, 1, 1])).backward()
    assert torch.isfinite(vectors.grad).all()


def test_the_hardest_rows_are_found_far_from_the_origin_too():
    """More than 25 rows, so that cdist takes its fast and less exact way."""
    vectors, targets = torch.randn(64, 3), torch.arange(64) % 8
    far = Triplet("e", dims=DIMS)(vectors + 3000, targets)
    assert float(far) == pytest.approx(slow_triplet(vectors + 3000, targets, 0.3), rel=1e-3)


def test_near_pairs_far_from_the_origin_keep_their_precision():
    """|x|^2 + |y|^2 - 2xy would lose this distance in float32."""
    vectors = torch.tensor([[1000.0, 0, 0], [1000.0625, 0, 0], [2000.0, 0, 0]])
    found = Triplet("e", 1000.0, dims=DIMS)(vectors, torch.tensor([0, 0, 1]))
    assert float(found) == pytest.approx(
        slow_triplet(vectors, torch.tensor([0, 0, 1]), 1000.0), rel=1e-5
    )


def test_the_gradient_is_right_in_float64():
    targets = torch.tensor([0, 0, 1, 1, 2])
    vectors = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    for margin in (10.0, None):
        loss = Triplet("e", margin, dims=DIMS)
        assert torch.autograd.gradcheck(lambda value, loss=loss: loss(value, targets), vectors)


def test_a_batch_of_one_class_still_reaches_every_embedding():
    vectors = torch.randn(3, 3, requires_grad=True)
    loss = Triplet("e", dims=DIMS)(vectors, torch.zeros(3, dtype=torch.int64))
    loss.backward()
    assert loss.item() == 0 and torch.equal(vectors.grad, torch.zeros(3, 3))


def test_normalised_embeddings_forget_their_length():
    loss = Triplet("e", normalize=True, dims=DIMS)
    vectors, targets = torch.randn(6, 3), torch.tensor([0, 0, 1, 1, 2, 2])
    torch.testing.assert_close(
        loss(vectors * torch.rand(6, 1).add(0.5), targets), loss(vectors, targets)
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_changes_nothing(dtype):
    vectors, targets = torch.randn(6, 3), torch.tensor([0, 0, 1, 1, 2, 2])
    loss = Triplet("e", dims=DIMS)
    with torch.autocast("cpu", dtype=dtype):
        mixed = loss(vectors, targets)
    assert torch.equal(mixed, loss(vectors, targets))


def test_permuting_the_batch_changes_nothing():
    vectors, targets = torch.randn(6, 3), torch.tensor([0, 0, 1, 1, 2, 2])
    order, loss = torch.randperm(6), Triplet("e", dims=DIMS)
    torch.testing.assert_close(loss(vectors[order], targets[order]), loss(vectors, targets))


@pytest.mark.parametrize(
    ("call", "says"), [("triplet('f')", "'f', only e"), ("triplet('e', margin=-1)", "negative")]
)
def test_an_impossible_setting_is_a_usage_error(call, says):
    with pytest.raises(UsageError, match=says):
        build(call, LOSSES, dims=DIMS, counts=torch.tensor([1]))
