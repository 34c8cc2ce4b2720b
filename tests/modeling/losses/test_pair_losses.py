"""Losses over the pairs of a batch against their definitions, written out in loops."""

import math

import numpy as np
import pytest
import torch

from fastseek import compat  # noqa: F401  (before fastreid)
from fastseek.registry import LOSSES, build

BATCHES = {
    "equal": [0, 0, 1, 1, 2, 2],
    "unequal": [0, 1, 0, 0, 2, 1, 3],
    "no pairs": [4, 2, 0],
    "one class": [5, 5, 5],
    "one row": [1],
}


def unit(rows):
    return [row / np.linalg.norm(row) for row in rows]


def neighbors(targets, query):
    """The rows of the query's class but itself, and those of others."""
    same = [n for n, its in enumerate(targets) if its == targets[query] and n != query]
    return same, [n for n, its in enumerate(targets) if its != targets[query]]


def mean(values):
    return sum(values) / len(values) if values else 0.0


def sigmoid(value):
    return 1 / (1 + math.exp(-value)) if value > -700 else 0.0


def contrastive(rows, targets, margin=0.7, normalize=True):
    rows, near, far = unit(rows) if normalize else rows, [], []
    for query in range(len(rows)):
        same, other = neighbors(targets, query)
        near += [np.linalg.norm(rows[query] - rows[n]) ** 2 / 2 for n in same]
        far += [max(margin - np.linalg.norm(rows[query] - rows[n]), 0) ** 2 / 2 for n in other]
    return mean(near) + mean(far)


def info_nce(rows, targets, temperature=0.07, normalize=True, score=None):
    rows, costs = unit(rows) if normalize else rows, []
    score = score or (lambda one, two: one @ two)
    for query in range(len(rows)):
        same, other = neighbors(targets, query)
        for positive in same:
            own = math.exp(score(rows[query], rows[positive]) / temperature)
            others = [math.exp(score(rows[query], rows[n]) / temperature) for n in other]
            costs.append(-math.log(own / (own + sum(others))))
    return mean(costs)


def supcon(rows, targets, temperature=0.1):
    rows, costs = unit(rows), []
    for query in range(len(rows)):
        same, other = neighbors(targets, query)
        score = {n: math.exp(rows[query] @ rows[n] / temperature) for n in same + other}
        if same:
            costs.append(mean([-math.log(score[n] / sum(score.values())) for n in same]))
    return mean(costs)


def multi_similarity(rows, targets, alpha=2, beta=50, base=0.5, epsilon=0.1):
    rows, costs = unit(rows), []
    for query in range(len(rows)):
        same, other = neighbors(targets, query)
        score = {n: rows[query] @ rows[n] for n in same + other}
        lowest = min([score[n] for n in same], default=math.inf)
        highest = max([score[n] for n in other], default=-math.inf)
        if epsilon is not None:
            same = [n for n in same if score[n] < highest + epsilon]
            other = [n for n in other if score[n] > lowest - epsilon]
        near = math.log(1 + sum(math.exp(-alpha * (score[n] - base)) for n in same)) / alpha
        far = math.log(1 + sum(math.exp(beta * (score[n] - base)) for n in other)) / beta
        costs.append(near + far)
    return mean(costs)


def mean_over_positives(rows, targets, cost):
    """Of cost(similarities of a query, a positive, other positives, negatives)."""
    rows, costs = unit(rows), []
    for query in range(len(rows)):
        same, other = neighbors(targets, query)
        score = {n: rows[query] @ rows[n] for n in same + other}
        each = [cost(score, n, [k for k in same if k != n], other) for n in same]
        costs += [mean(each)] if same else []
    return mean(costs)


def smooth_ap(rows, targets, temperature=0.01):
    def cost(score, positive, same, other):
        above = {n: sigmoid((score[n] - score[positive]) / temperature) for n in same + other}
        among = 1 + sum(above[n] for n in same)
        return 1 - among / (among + sum(above[n] for n in other))

    return mean_over_positives(rows, targets, cost)


def recall_at_k(rows, targets, ks=(1, 2, 4, 8, 16), inner=0.01, outer=1.0):
    def cost(score, positive, same, other):
        rank = 1 + sum(sigmoid((score[n] - score[positive]) / inner) for n in same + other)
        return mean([1 - sigmoid((k - rank) / outer) for k in ks])

    return mean_over_positives(rows, targets, cost)


def sup_ap(rows, targets, temperature=0.01, rho=100.0, delta=0.05):
    def bound(gap):
        if gap <= 0:
            return sigmoid(gap / temperature)
        if gap <= delta:
            return sigmoid(gap / temperature) + 0.5
        return rho * (gap - delta) + sigmoid(delta / temperature) + 0.5

    def cost(score, positive, same, other):
        among = 1 + sum(score[n] >= score[positive] for n in same)
        return 1 - among / (among + sum(bound(score[n] - score[positive]) for n in other))

    return mean_over_positives(rows, targets, cost)


def roadmap(rows, targets, balance=0.5, alpha=0.9, beta=0.6, **options):
    vectors, costs = unit(rows), []
    for query in range(len(rows)):
        same, other = neighbors(targets, query)
        near = mean([max(alpha - vectors[query] @ vectors[n], 0) for n in same])
        far = mean([max(vectors[query] @ vectors[n] - beta, 0) for n in other])
        costs += [near + far] if same else []
    return (1 - balance) * sup_ap(rows, targets, **options) + balance * mean(costs)


def hyperbolic(rows, targets, c=0.1, clip=2.3, temperature=0.2):
    if not c:
        return info_nce(rows, targets, temperature, True, lambda x, y: -((x - y) @ (x - y)))

    def enter(row):
        length = np.linalg.norm(row)
        row = row if clip is None else row * min(1, clip / length)
        length = np.linalg.norm(row)
        return math.tanh(math.sqrt(c) * length) * row / (math.sqrt(c) * length)

    def distance(x, y):
        x = -x  # the Möbius sum of -x and y
        both, own, its = x @ y, x @ x, y @ y
        total = (1 + 2 * c * both + c * its) * x + (1 - c * own) * y
        total = total / (1 + 2 * c * both + c**2 * own * its)
        return 2 / math.sqrt(c) * math.atanh(math.sqrt(c) * np.linalg.norm(total))

    rows = [enter(row) for row in rows]
    return info_nce(rows, targets, temperature, False, lambda x, y: -distance(x, y))


CASES = [
    ("contrastive('e')", contrastive, {}),
    ("contrastive('e', 2.0, normalize=False)", contrastive, {"margin": 2, "normalize": False}),
    ("info_nce('e')", info_nce, {}),
    ("info_nce('e', 1, normalize=False)", info_nce, {"temperature": 1, "normalize": False}),
    ("supcon('e', 0.2, weight=2)", lambda *batch: 2 * supcon(*batch, 0.2), {}),
    ("multi_similarity('e')", multi_similarity, {}),
    (
        "multi_similarity('e', 3, 9, 0.2, None)",
        lambda *b: multi_similarity(*b, 3, 9, 0.2, None),
        {},
    ),
    ("smooth_ap('e')", smooth_ap, {}),
    ("smooth_ap('e', 0.3)", smooth_ap, {"temperature": 0.3}),
    ("roadmap('e')", roadmap, {}),
    (
        "roadmap('e', 0.2, 3, 0.3, (0.8, 0.1), balance=0.2)",
        lambda *b: roadmap(*b, 0.2, 0.8, 0.1, temperature=0.2, rho=3, delta=0.3),
        {},
    ),
    ("recall_at_k('e')", recall_at_k, {}),
    ("recall_at_k('e', (1, 3), 0.2, 0.5)", lambda *b: recall_at_k(*b, (1, 3), 0.2, 0.5), {}),
    ("hyperbolic('e')", hyperbolic, {}),
    ("hyperbolic('e', 1.0, clip=None)", hyperbolic, {"c": 1.0, "clip": None}),
    ("hyperbolic('e', 0, temperature=0.5)", hyperbolic, {"c": 0, "temperature": 0.5}),
]


@pytest.mark.parametrize("targets", BATCHES.values(), ids=BATCHES)
@pytest.mark.parametrize(("call", "slow", "options"), CASES, ids=[case[0] for case in CASES])
def test_the_loss_equals_its_definition(call, slow, options, targets):
    rows = torch.randn(len(targets), 4, dtype=torch.float64)
    loss = build(call, LOSSES, dims={"e": 4}, counts=torch.ones(6))
    expected = slow(list(rows.numpy()), targets, **options)
    found = loss(rows, torch.tensor(targets)).item()
    assert found == pytest.approx(expected, rel=1e-10, abs=1e-12)


def test_a_batch_that_is_in_order_costs_a_ranking_loss_nothing():
    rows, targets = torch.eye(3).repeat_interleave(2, dim=0), torch.tensor([0, 0, 1, 1, 2, 2])
    for call in ("smooth_ap('e')", "roadmap('e')"):
        loss = build(call, LOSSES, dims={"e": 3}, counts=torch.ones(3))
        assert loss(rows, targets).item() == pytest.approx(0, abs=1e-6)


def test_sup_ap_is_never_below_the_loss_of_average_precision():
    """What smooth AP can be: its sigmoid counts half a row that is just above."""
    targets = [0, 0, 0, 1, 1, 1, 2, 2]
    for _ in range(20):
        rows = list(torch.randn(8, 3, dtype=torch.float64).numpy())

        def cost(score, positive, same, other):
            above = sum(score[n] > score[positive] for n in same) + 1
            return 1 - above / (above + sum(score[n] > score[positive] for n in other))

        assert sup_ap(rows, targets) >= mean_over_positives(rows, targets, cost) - 1e-12


def test_points_at_the_edge_of_the_ball_give_finite_losses_and_gradients():
    rows = (1e4 * torch.randn(6, 4)).requires_grad_()
    loss = build("hyperbolic('e', clip=None)", LOSSES, dims={"e": 4}, counts=torch.ones(3))
    found = loss(rows, torch.tensor([0, 0, 1, 1, 2, 2]))
    found.backward()
    assert found.isfinite() and rows.grad.isfinite().all()
