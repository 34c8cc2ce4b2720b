"""Losses with proxies of the classes against their definitions, written out in loops."""

import math

import numpy as np
import pytest
import torch

from fastseek import compat  # noqa: F401  (before fastreid)
from fastseek.registry import LOSSES, build

COUNTS = torch.tensor([9, 4, 2, 7, 1])
TARGETS = [0, 1, 2, 3, 4, 4, 0]
# Margins are kept in float32: those below have all their digits there.
E = 1e-12


def made(call):
    return build(call, LOSSES, dims={"e": 4}, counts=COUNTS).double()


def cosines(loss, rows):
    weight = loss.weight.detach().double().numpy()
    return [
        [row @ center / np.linalg.norm(row) / np.linalg.norm(center) for center in weight]
        for row in rows
    ]


def cross_entropy(logits, targets):
    costs = []
    for row, label in zip(logits, targets, strict=True):
        total = sum(math.exp(value - row[label]) for value in row)
        costs.append(math.log(total))
    return sum(costs) / len(costs)


def with_own(table, targets, change):
    """The cosines, those of the own classes changed by (row number, cosine)."""
    return [
        [change(number, value) if label == own else value for label, value in enumerate(row)]
        for number, (row, own) in enumerate(zip(table, targets, strict=True))
    ]


def arc(cosine, margin):
    if cosine > math.cos(math.pi - margin):
        return math.cos(math.acos(cosine) + margin)
    return cosine - margin * math.sin(math.pi - margin)


def scaled(table, s):
    return [[s * value for value in row] for row in table]


def proxy_anchor(loss, rows, targets, alpha=32.0, delta=0.1):
    table, near, far = cosines(loss, rows), [], []
    for label in range(len(COUNTS)):
        own = [row[label] for row, its in zip(table, targets, strict=True) if its == label]
        other = [row[label] for row, its in zip(table, targets, strict=True) if its != label]
        if own:
            near.append(math.log(1 + sum(math.exp(-alpha * (one - delta)) for one in own)))
        far.append(math.log(1 + sum(math.exp(alpha * (one + delta)) for one in other)))
    return sum(near) / len(near) + sum(far) / len(far)


def proxy_nca(loss, rows, targets, temperature=1 / 9):
    weight, costs = loss.weight.detach().numpy(), []
    for row, label in zip(rows, targets, strict=True):
        row = row / np.linalg.norm(row)
        square = [sum((row - one / np.linalg.norm(one)) ** 2) for one in weight]
        total = sum(math.exp(-one / temperature) for one in square)
        costs.append(-math.log(math.exp(-square[label] / temperature) / total))
    return sum(costs) / len(costs)


def uni_face(loss, rows, targets, s=64.0, margin=0.4, balance=1.0):
    threshold, costs = loss.threshold.item(), []
    for row, label in zip(cosines(loss, rows), targets, strict=True):
        cost = math.log(1 + math.exp(threshold - s * (row[label] - margin)))
        for other, value in enumerate(row):
            if other != label:
                cost += balance * math.log(1 + math.exp(s * value - threshold))
        costs.append(cost)
    return sum(costs) / len(costs)


def ada_face(loss, rows, targets, s=64.0, margin=0.4, h=0.333):
    lengths = [np.linalg.norm(row) for row in rows]
    center, spread = loss.mean_length.item(), loss.deviation.item()

    def change(number, cosine):
        quality = min(max((lengths[number] - center) / max(spread / h, 1e-6), -1), 1)
        angle = min(max(math.acos(cosine) - margin * quality, 0), math.pi)
        return math.cos(angle) - (margin * quality + margin)

    return cross_entropy(scaled(with_own(cosines(loss, rows), targets, change), s), targets)


def elastic_arc(loss, rows, targets, s=64.0, margin=0.5):
    table = with_own(cosines(loss, rows), targets, lambda _, cosine: arc(cosine, margin))
    return cross_entropy(scaled(table, s), targets)


def elastic_cos(loss, rows, targets, s=64.0, margin=0.375):
    table = with_own(cosines(loss, rows), targets, lambda _, cosine: cosine - margin)
    return cross_entropy(scaled(table, s), targets)


def mag_face(loss, rows, targets, s=64.0, lengths=(10, 110), margins=(0.45, 0.8), price=35.0):
    (low, high), (least, most) = lengths, margins
    sizes = [min(max(np.linalg.norm(row), low), high) for row in rows]

    def change(number, cosine):
        return arc(cosine, (most - least) / (high - low) * (sizes[number] - low) + least)

    logits = scaled(with_own(cosines(loss, rows), targets, change), s)
    prices = [1 / size + size / high**2 for size in sizes]
    return cross_entropy(logits, targets) + price * sum(prices) / len(prices)


def soft_triple(loss, rows, targets, k=3, s=20.0, gamma=0.1, margin=0.125, tau=0.2):
    table = []
    for row in cosines(loss, rows):
        each = [row[start : start + k] for start in range(0, len(row), k)]
        table.append(
            [
                sum(one * math.exp(one / gamma) for one in own)
                / sum(math.exp(one / gamma) for one in own)
                for own in each
            ]
        )
    logits = scaled(with_own(table, targets, lambda _, value: value - margin), s)
    centers = [one / np.linalg.norm(one) for one in loss.weight.detach().numpy()]
    apart = 0.0
    for start in range(0, len(centers), k):
        own = centers[start : start + k]
        apart += sum(np.linalg.norm(own[i] - own[j]) for i in range(k) for j in range(i))
    return cross_entropy(logits, targets) + tau * apart / (len(COUNTS) * k * max(1, k - 1))


CASES = [
    ("soft_triple('e', 3, margin=0.125)", soft_triple, {}),
    ("soft_triple('e', 1, 9, 1.0, 0.25, 0.0)", soft_triple, {"k": 1, "s": 9, "margin": 0.25}),
    ("proxy_anchor('e')", proxy_anchor, {}),
    ("proxy_anchor('e', 5, 0.3)", proxy_anchor, {"alpha": 5, "delta": 0.3}),
    ("proxy_nca('e')", proxy_nca, {}),
    ("proxy_nca('e', 0.5)", proxy_nca, {"temperature": 0.5}),
    ("uni_face('e', margin=0.375)", uni_face, {"margin": 0.375}),
    ("uni_face('e', 9, 0.125, 0.5)", uni_face, {"s": 9, "margin": 0.125, "balance": 0.5}),
    ("ada_face('e', margin=0.375)", ada_face, {"margin": 0.375}),
    ("ada_face('e', 9, 0.875, 1.0)", ada_face, {"s": 9, "margin": 0.875, "h": 1.0}),
    ("elastic_face('e', sigma=0.2)", elastic_arc, {}),
    ("elastic_face('e', 'cos', margin=0.375, order=True)", elastic_cos, {}),
    ("mag_face('e', lengths=(1, 3))", mag_face, {"lengths": (1, 3)}),
    (
        "mag_face('e', 9, (0.5, 2.5), (0.1, 1.2), 2)",
        mag_face,
        {"s": 9, "lengths": (0.5, 2.5), "margins": (0.1, 1.2), "price": 2},
    ),
]


@pytest.mark.parametrize("targets", [TARGETS, [3, 3, 3], [2]], ids=["all", "one class", "one row"])
@pytest.mark.parametrize(("call", "slow", "options"), CASES, ids=[case[0] for case in CASES])
def test_the_loss_equals_its_definition(call, slow, options, targets):
    loss, rows = made(call).eval(), torch.randn(len(targets), 4, dtype=torch.float64)
    if "ada_face" in call:
        loss.mean_length.fill_(2.0)
        loss.deviation.fill_(0.5)
    expected = slow(loss, list(rows.numpy()), targets, **options)
    found = loss(rows, torch.tensor(targets)).item()
    assert found == pytest.approx(expected, rel=1e-10, abs=E)


def test_ada_face_remembers_the_mean_and_deviation_of_the_lengths():
    loss, means, deviations = made("ada_face('e', margin=0.375, momentum=0.9)").train(), [], []
    for step in range(3):
        rows = (step + 1) * torch.randn(7, 4, dtype=torch.float64)
        found = loss(rows, torch.tensor(TARGETS)).item()
        lengths = rows.norm(dim=1)
        for kept, new in ((means, lengths.mean()), (deviations, lengths.std())):
            kept.append(0.9 * kept[-1] + 0.1 * float(new) if kept else float(new))
        assert found == pytest.approx(
            ada_face(loss, list(rows.numpy()), TARGETS, margin=0.375), rel=1e-10
        )
    assert loss.mean_length.item() == pytest.approx(means[-1], rel=1e-12)
    assert loss.deviation.item() == pytest.approx(deviations[-1], rel=1e-12)
    before = loss.mean_length.clone()
    loss.eval()(rows, torch.tensor(TARGETS))
    with torch.no_grad():
        loss.train()(rows, torch.tensor(TARGETS))
    assert torch.equal(loss.mean_length, before) and loss.steps == 3


@pytest.mark.parametrize("kind", ["arc", "cos"])
def test_the_margins_of_elastic_face_are_drawn_and_may_be_ordered_by_the_cosine(kind):
    loss = made(f"elastic_face('e', {kind!r}, sigma=0.1)").train()
    ordered = made(f"elastic_face('e', {kind!r}, sigma=0.1, order=True)").train()
    facts, targets = loss.row_facts(torch.zeros(2000, 4, dtype=torch.float64)), torch.arange(2000)
    own = torch.rand(2000, 1, dtype=torch.float64)
    drawn = loss.row_margins(facts, own, targets % 5)
    assert drawn.mean().item() == pytest.approx(0.5, abs=0.01)
    assert drawn.std().item() == pytest.approx(0.1, abs=0.01)
    sorted_ = ordered.row_margins(facts, own, targets % 5)
    assert torch.equal(sorted_.sort(dim=0).values, drawn.sort(dim=0).values)
    by_cosine = sorted_[own.squeeze(1).argsort()].squeeze(1)
    assert (by_cosine.diff() <= 0).all(), "the nearest gets the least"
    rows = torch.randn(7, 4, dtype=torch.float64)
    one, two = (loss(rows, torch.tensor(TARGETS)).item() for _ in range(2))
    assert one != two


@pytest.mark.parametrize("call", ["proxy_anchor('e')", "proxy_nca('e')", "mag_face('e')"])
def test_the_scores_of_the_classes_are_scaled_cosines(call):
    loss, rows = made(call), torch.randn(7, 4, dtype=torch.float64)
    scale = getattr(loss, "s", None) or loss.alpha
    expected = scale * torch.tensor(cosines(loss, list(rows.numpy())))
    torch.testing.assert_close(loss.logits(rows), expected)
    assert loss.weight.shape == (5, 4)
