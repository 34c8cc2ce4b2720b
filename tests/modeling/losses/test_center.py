import pytest
import torch

from fastseek.errors import UsageError
from fastseek.modeling.losses.center import Center
from fastseek.registry import LOSSES, build

COUNTS, DIMS = torch.tensor([5, 5, 5, 5]), {"e": 3}
TARGETS = torch.tensor([0, 0, 2, 0, 3])


def center(**options):
    return Center("e", **{"seed": 7, **options}, dims=DIMS, counts=COUNTS).train()


def slow_loss(vectors, targets, centers, rule):
    """Fine-grained facts 1.2, row by row in float64."""
    total = 0.0
    for row, label in zip(vectors.double().tolist(), targets.tolist(), strict=True):
        total += sum(
            (a - b) ** 2 for a, b in zip(row, centers[label].double().tolist(), strict=True)
        )
    return total / len(targets) if rule == "repo" else total / 2


def slow_wen(vectors, targets, centers, alpha):
    moved = centers.double().clone()
    for label in range(len(centers)):
        own = vectors.double()[targets == label]
        moved[label] -= alpha * (centers[label].double() - own).sum(0) / (1 + len(own))
    return moved


@pytest.mark.parametrize("rule", ["repo", "paper", "wen"])
def test_the_loss_equals_its_definition_and_the_weight_scales_it(rule):
    """finegrained row 13; trap 3."""
    loss, vectors = center(rule=rule, weight=0.25), torch.randn(5, 3)
    expected = 0.25 * slow_loss(vectors, TARGETS, loss.centers.clone(), rule)
    assert loss(vectors, TARGETS).item() == pytest.approx(expected, rel=1e-5)


def test_the_two_scales_differ_by_half_the_batch():
    """trap 3: repo = (2/B) * paper."""
    vectors = torch.randn(5, 3)
    repo, paper = (center(rule=rule, weight=1.0)(vectors, TARGETS) for rule in ("repo", "paper"))
    torch.testing.assert_close(repo, paper * 2 / 5)


@pytest.mark.parametrize("rule", ["repo", "paper"])
@pytest.mark.parametrize("weight", [1.0, 0.0005])
def test_the_centers_go_where_an_sgd_of_their_own_takes_them_whatever_the_weight(rule, weight):
    """finegrained row 13: own optimiser, gradient times 1/beta."""
    loss = center(rule=rule, weight=weight, lr=0.5)
    twin = torch.nn.Parameter(loss.centers.double())
    optimizer = torch.optim.SGD([twin], lr=0.5)
    for _ in range(5):
        vectors, targets = torch.randn(6, 3), torch.randint(0, 4, (6,))
        loss(vectors, targets)
        distance = (vectors.double() - twin[targets]).square().sum(1)
        cost = weight * (distance.mean() if rule == "repo" else distance.sum() / 2)
        optimizer.zero_grad()
        cost.backward()
        twin.grad *= 1 / weight
        optimizer.step()
    torch.testing.assert_close(loss.centers.double(), twin.detach(), rtol=1e-5, atol=1e-5)


def test_wens_rule_divides_by_one_more_than_the_rows_of_the_class():
    """finegrained row 13."""
    loss, vectors = center(rule="wen", alpha=0.3), torch.randn(5, 3)
    expected = slow_wen(vectors, TARGETS, loss.centers.clone(), 0.3)
    loss(vectors, TARGETS)
    torch.testing.assert_close(loss.centers.double(), expected, rtol=1e-5, atol=1e-6)


def test_the_embeddings_feel_the_centers_as_they_were_before_the_step():
    loss, vectors = center(weight=1.0), torch.randn(5, 3, requires_grad=True)
    before = loss.centers.clone()
    loss(vectors, TARGETS).backward()
    assert not torch.equal(loss.centers, before)
    torch.testing.assert_close(vectors.grad, 2 / 5 * (vectors - before[TARGETS]).detach())


def test_the_centers_are_state_and_no_parameter():
    assert list(center().parameters()) == [] and list(center().state_dict()) == ["centers"]


def test_evaluation_and_passes_without_gradient_leave_the_centers_alone():
    loss, vectors = center(), torch.randn(5, 3)
    before = loss.centers.clone()
    with torch.no_grad():
        loss(vectors, TARGETS)
    loss.eval()(vectors, TARGETS)
    assert torch.equal(loss.centers, before)


def test_classes_outside_the_batch_keep_their_center():
    loss = center()
    before = loss.centers.clone()
    loss(torch.randn(5, 3), TARGETS)
    assert (
        torch.equal(loss.centers[1], before[1])
        and (loss.centers[[0, 2, 3]] != before[[0, 2, 3]]).all()
    )


def test_the_first_centers_depend_on_the_seed_alone():
    first = center(seed=4).centers
    torch.manual_seed(9)
    assert torch.equal(center(seed=4).centers, first) and not torch.equal(
        center(seed=5).centers, first
    )


def test_it_draws_together_what_the_triplet_loss_calls_equally_good():
    """Fine-grained facts 1.2: (0.3, 0.5) and (1.3, 1.5) cost the same triplet loss, and not the
    same center loss.
    """
    loss, targets = center(weight=1.0, lr=0.0), torch.tensor([0, 0, 1])
    loss.centers.zero_()
    near, far = (
        torch.tensor([[0.0, 0, 0], [p, 0, 0], [-n, 0, 0]]) for p, n in ((0.3, 0.5), (1.3, 1.5))
    )
    assert loss(near, targets) < loss(far, targets) / 5


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_changes_nothing(dtype):
    mixed, plain, vectors = center(), center(), torch.randn(5, 3)
    with torch.autocast("cpu", dtype=dtype):
        found = mixed(vectors, TARGETS)
    assert torch.equal(found, plain(vectors, TARGETS)) and torch.equal(mixed.centers, plain.centers)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        ("center('f')", "'f', only e"),
        ("center('e', rule='mine')", "repo, paper"),
        ("center('e', lr=-1)", "negative"),
    ],
)
def test_an_impossible_setting_is_a_usage_error(call, says):
    with pytest.raises(UsageError, match=says):
        build(call, LOSSES, dims=DIMS, counts=COUNTS)
