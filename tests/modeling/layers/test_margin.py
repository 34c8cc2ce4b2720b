import math

import pytest
import torch

from fastseek.errors import UsageError
from fastseek.modeling.layers.margin import add_margin, dynamic_margins, margins


def test_the_published_table_of_dynamic_margins():
    """landmark row 27: facts section 3."""
    found = dynamic_margins(torch.tensor([2, 10, 100, 1000, 6272]), 0.05, 0.50)
    torch.testing.assert_close(
        found, torch.tensor([0.5, 0.3279, 0.1759, 0.0904, 0.05]), atol=5e-5, rtol=0
    )


def test_the_smallest_class_gets_the_high_and_the_largest_the_low_margin():
    """landmark row 27."""
    counts = torch.tensor([7, 3, 900, 3, 12])
    found = dynamic_margins(counts, 0.1, 0.4)
    assert found[1] == found[3] == pytest.approx(0.4) and found[2] == pytest.approx(0.1)
    assert (found[counts.argsort(stable=True)].diff() <= 0).all()


def test_equal_counts_give_the_middle_margin():
    """landmark row 27: the formula alone would be 0/0."""
    assert dynamic_margins(torch.tensor([5, 5, 5]), 0.1, 0.4).tolist() == pytest.approx([0.25] * 3)


def test_an_empty_class_keeps_its_row_and_shifts_no_other():
    """landmark row 28."""
    full = dynamic_margins(torch.tensor([4, 9, 100]), 0.05, 0.5)
    holed = dynamic_margins(torch.tensor([4, 0, 9, 100]), 0.05, 0.5)
    assert len(holed) == 4 and torch.equal(holed[[0, 2, 3]], full) and holed[1] == full[0]


def test_a_table_is_parsed_from_its_call_string():
    counts = torch.tensor([2, 10, 100])
    assert torch.equal(margins("dynamic(0.05, 0.50)", counts), dynamic_margins(counts, 0.05, 0.5))
    assert torch.equal(
        margins("dynamic(0.05, 0.50, power=0.5)", counts), dynamic_margins(counts, 0.05, 0.5, 0.5)
    )
    assert margins(0.3, counts).tolist() == pytest.approx([0.3] * 3)


@pytest.mark.parametrize(
    "spec",
    [
        "static(0.3)",
        "dynamic(0.5)",
        "dynamic(0.5, 0.05)",
        "dynamic(0.1, 2.0)",
        -0.1,
        1.6,
        float("nan"),
        True,
    ],
)
def test_a_margin_that_cannot_be_is_refused(spec):
    with pytest.raises(ValueError):
        margins(spec, torch.tensor([1, 2]))


def test_code_in_a_margin_is_refused():
    with pytest.raises(UsageError):
        margins("dynamic(__import__('os'), 1)", torch.tensor([1, 2]))


def test_dynamic_margins_without_counts_say_what_is_missing():
    with pytest.raises(ValueError, match="SEEK.CLASSES"):
        margins("dynamic(0.05, 0.5)", torch.zeros(3, dtype=torch.int64))


@pytest.mark.parametrize(
    ("cosine", "margin", "expected"),
    [(0.5, 0.3, 0.221740), (0.8, 0.3, 0.586957), (0.35, 0.5, -0.141948), (-0.99, 0.3, -1.078656)],
)
def test_the_worked_target_cosines(cosine, margin, expected):
    """Landmark facts section 3."""
    found = add_margin(
        torch.tensor([[cosine]], dtype=torch.float64), torch.tensor([0]), torch.tensor([margin])
    )
    assert float(found) == pytest.approx(expected, abs=1e-6)


def test_inside_the_threshold_the_angle_grows_by_the_margin():
    angles = torch.linspace(0.01, math.pi - 0.31, 50, dtype=torch.float64)
    found = add_margin(
        angles.cos()[:, None], torch.zeros(50, dtype=torch.int64), torch.tensor([0.3]).double()
    )
    torch.testing.assert_close(found[:, 0], (angles + 0.3).cos())


@pytest.mark.parametrize("margin", [0.05, 0.3, 0.5, 1.5])
def test_the_penalised_cosine_never_falls_when_the_cosine_rises(margin):
    """landmark row 29: monotone on both sides of cos(pi - m) and across it."""
    cosine = torch.linspace(-1, 1, 4001, dtype=torch.float64)[:, None]
    found = add_margin(
        cosine, torch.zeros(4001, dtype=torch.int64), torch.tensor([margin]).double()
    )[:, 0]
    assert (found.diff() >= -1e-12).all()
    assert (found <= cosine[:, 0] + 1e-12).all()


def test_other_classes_are_untouched():
    """landmark row 31."""
    cosine = torch.rand(6, 9) * 2 - 1
    targets = torch.tensor([0, 8, 3, 3, 5, 1])
    found = add_margin(cosine, targets, torch.full((9,), 0.3))
    other = torch.ones_like(cosine, dtype=torch.bool).scatter(1, targets[:, None], False)
    assert torch.equal(found[other], cosine[other])
    assert (found[~other] < cosine[~other]).all()


@pytest.mark.parametrize("value", [1.0, -1.0, 1.0000002, -1.0000002])
def test_a_cosine_of_one_gives_finite_values_and_gradients(value):
    """landmark row 30: at the target and at every other class."""
    cosine = torch.full((3, 4), value, requires_grad=True)
    found = add_margin(cosine, torch.tensor([0, 1, 2]), torch.full((4,), 0.3))
    found.square().sum().backward()
    assert torch.isfinite(found).all() and torch.isfinite(cosine.grad).all()


def test_the_given_cosines_are_not_changed():
    cosine = torch.rand(3, 4)
    before = cosine.clone()
    add_margin(cosine, torch.tensor([0, 1, 2]), torch.full((4,), 0.3))
    assert torch.equal(cosine, before)


def test_a_target_outside_the_classes_is_an_error():
    with pytest.raises((IndexError, RuntimeError)):
        add_margin(torch.rand(2, 3), torch.tensor([0, 3]), torch.full((3,), 0.3))
