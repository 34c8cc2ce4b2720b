"""Distillation from stored embeddings against its definitions, and what happens without a vector."""

import math

import numpy as np
import pytest
import torch

from fastseek import compat  # noqa: F401  (before fastreid)
from fastseek.errors import DataError, UsageError
from fastseek.modeling import seeker  # noqa: F401
from fastseek.modeling.layers.trainer_contract import announce_images
from fastseek.registry import LOSSES, build
from fastseek.structures import Embeddings

from fastreid.modeling.meta_arch import build_model

IDS = ["a", "b", "c", "d", "e"]


@pytest.fixture
def teacher(tmp_path):
    """A function: ids, D and a name -> the folder of embeddings."""

    def write(ids=IDS, dim=3, name="teacher"):
        random = np.random.default_rng(dim + len(ids))
        vectors = random.normal(size=(len(ids), dim)).astype(np.float32)
        Embeddings(list(ids), vectors).save(tmp_path / name)
        return str(tmp_path / name)

    return write


def made(teachers, **options):
    given = "".join(f", {name}={value!r}" for name, value in options.items())
    return build(f"distill('e', {teachers!r}{given})", LOSSES, dims={"e": 3}, counts=torch.ones(2))


def vectors_of(folder, ids):
    known = Embeddings.load(folder)
    return [np.asarray(known.vectors[list(known.ids).index(one)], float) for one in ids]


def huber(one, two):
    gap = abs(one - two)
    return gap**2 / 2 if gap <= 1 else gap - 0.5


def cosine_of(x, y):
    length = np.linalg.norm(x) * np.linalg.norm(y)
    return x @ y / length if length else 0.0


def slow_cosine(student, teacher):
    return np.mean([1 - cosine_of(x, y) for x, y in zip(student, teacher, strict=True)])


def slow_similarity(student, teacher):
    rows = range(len(student))
    return np.mean(
        [
            (cosine_of(student[i], student[j]) - cosine_of(teacher[i], teacher[j])) ** 2
            for i in rows
            for j in rows
        ]
    )


def slow_distance(student, teacher):
    def distances(side):
        rows = range(len(side))
        found = {(i, j): math.dist(side[i], side[j]) for i in rows for j in rows}
        mean = np.mean([value for (i, j), value in found.items() if i != j])
        return [value / mean for value in found.values()]

    return np.mean(
        [huber(x, y) for x, y in zip(distances(student), distances(teacher), strict=True)]
    )


def slow_angle(student, teacher):
    def angles(side):
        rows = range(len(side))
        return [
            cosine_of(side[i] - side[j], side[k] - side[j])
            for j in rows
            for i in rows
            for k in rows
        ]

    return np.mean([huber(x, y) for x, y in zip(angles(student), angles(teacher), strict=True)])


def slow_rkd(student, teacher):
    return slow_distance(student, teacher) + 2 * slow_angle(student, teacher)


SLOW = {
    "cosine": slow_cosine,
    "similarity": slow_similarity,
    "distance": slow_distance,
    "angle": slow_angle,
    "rkd": slow_rkd,
}


@pytest.mark.parametrize("loss", SLOW)
def test_the_loss_equals_its_definition_for_one_and_for_two_teachers(teacher, loss):
    rows, ids = torch.randn(4, 3, dtype=torch.float64), ["d", "a", "c", "b"]
    one, two = teacher(), teacher([*"fedcba"], 3 if loss == "cosine" else 7, "other")
    each = [SLOW[loss](list(rows.numpy()), vectors_of(folder, ids)) for folder in (one, two)]
    targets = torch.zeros(4, dtype=torch.int64)
    found = made(one, loss=loss)(rows, targets, ids)
    assert found.item() == pytest.approx(each[0], rel=1e-10)
    both = made([one, two], loss=loss, weights=(2, 0.5), weight=3.0)(rows, targets, ids)
    assert both.item() == pytest.approx(3 * (2 * each[0] + 0.5 * each[1]), rel=1e-10)


@pytest.mark.parametrize("loss", SLOW)
def test_the_gradient_is_right_and_poor_batches_are_finite(teacher, loss):
    made_, targets = made(teacher(), loss=loss).double(), torch.zeros(4, dtype=torch.int64)
    rows = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda value: made_(value, targets, IDS[:4]), rows)
    for few in (torch.randn(1, 3), torch.ones(4, 3), torch.zeros(4, 3)):
        few.requires_grad_()
        found = made_(few, targets[: len(few)], IDS[: len(few)])
        found.backward()
        assert found.isfinite() and few.grad.isfinite().all()


def test_a_teacher_of_another_length_wants_a_layer_to_it(teacher):
    rows, targets = torch.randn(5, 3), torch.zeros(5, dtype=torch.int64)
    folder = teacher(dim=6)
    for work in (lambda loss: loss(rows, targets, IDS), lambda loss: loss.start_training(9)):
        with pytest.raises(UsageError, match="6 numbers are compared with 3: set project"):
            work(made(folder))
    loss = made(folder, project=(6,))
    loss.start_training(9)
    expected = slow_cosine(list(loss.maps[0](rows).detach().numpy()), vectors_of(folder, IDS))
    assert loss(rows, targets, IDS).item() == pytest.approx(expected, rel=1e-5)


def test_a_missing_image_is_told_by_its_name_before_the_training(teacher):
    folder, rows, targets = teacher(IDS[:3]), torch.randn(2, 3), torch.zeros(2, dtype=torch.int64)
    loss = made(folder)
    announce_images([loss], [type("Item", (), {"id": one}) for one in "abc"])
    with pytest.raises(DataError, match="no vector of 'd': of 5 training images 2 are not"):
        loss.check_images(IDS)
    with pytest.raises(DataError, match="no vector of 'e'"):
        loss(rows, targets, ["a", "e"])
    with pytest.raises(DataError, match="nowhere"):
        made(f"{folder}/nowhere").start_training(3)
    with pytest.raises(UsageError, match="gives none"):
        loss(rows, targets, None)


def test_with_any_cover_an_image_counts_for_the_teachers_that_have_it(teacher):
    """As where each teacher knows one domain."""
    one, two = teacher("abc", name="one"), teacher("cde", name="two")
    rows, targets = torch.randn(5, 3, dtype=torch.float64), torch.zeros(5, dtype=torch.int64)
    loss, side = made([one, two], cover="any"), list(rows.numpy())
    loss.check_images(IDS)
    expected = slow_cosine(side[:3], vectors_of(one, "abc"))
    expected += slow_cosine(side[2:], vectors_of(two, "cde"))
    assert loss(rows, targets, IDS).item() == pytest.approx(expected, rel=1e-10)
    with pytest.raises(DataError, match="no vector of 'z'"):
        loss(rows, targets, [*"abcz", "e"])


def test_a_vector_that_is_not_finite_is_told_by_its_name(tmp_path):
    vectors = np.ones((2, 3), np.float32)
    vectors[1, 0] = np.nan
    Embeddings(["a", "b"], vectors).save(tmp_path / "bad")
    loss, targets = made(str(tmp_path / "bad")), torch.zeros(2, dtype=torch.int64)
    with pytest.raises(DataError, match="'b' is not finite"):
        loss(torch.randn(2, 3), targets, ["a", "b"])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"loss": "l2"}, "one of cosine, similarity"),
        ({"cover": "most"}, "cover"),
        ({"weights": (1, 2)}, "weights must be one a teacher"),
        ({"project": (4, 4)}, "project must be one a teacher"),
        ({"weights": (-1,)}, "weights"),
    ],
)
def test_an_impossible_setting_is_a_usage_error(options, says):
    with pytest.raises(UsageError, match=says):
        made("teacher", **options)


def test_ten_steps_of_a_model_with_losses_of_every_kind_lower_them_all(teacher, config, batch):
    """A teacher's vectors are found by the ids of the batch, also below a matryoshka loss."""
    folder = teacher(batch["ids"], 5)
    losses = [
        f"distill('gem', {folder!r}, project=(5,))",
        f"matryoshka(\"distill('gem', {folder!r}, project=(5,))\", sizes=(4, 8))",
        "info_nce('gem')",
        "smooth_ap('gem', temperature=0.3)",
        "proxy_anchor('gem')",
        "ada_face('gem', s=16)",
        "hyperbolic('gem')",
    ]
    model = build_model(config("SEEK.LOSSES", losses)).train()
    optimizer, values = torch.optim.Adam(model.parameters(), 2e-3), []
    for _ in range(11):
        found = model(batch)
        optimizer.zero_grad()
        sum(found.values()).backward()
        optimizer.step()
        values.append({name: value.item() for name, value in found.items()})
    assert len(values[0]) == len(losses)
    assert {name for name in values[0] if not values[-1][name] < values[0][name]} == set()
    with pytest.raises(UsageError, match="ids"):
        model({"images": batch["images"], "targets": batch["targets"]})
