"""The DIGIX sampler, and classes with one image in the samplers that may replace them."""

import numpy as np
import pytest

from fastseek.data import samplers  # noqa: F401
from fastseek.errors import UsageError
from fastseek.registry import SAMPLERS, build

COUNTS = (1, 2, 3, 4, 5, 9, 16, 30, 1, 2, 700)


def labels_of(counts=COUNTS, seed=0):
    return np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))


def sampler(call, labels=None, batch_size=8, world_size=1, seed=0):
    labels = labels_of() if labels is None else np.asarray(labels)
    return build(
        call,
        SAMPLERS,
        labels=labels,
        groups=np.zeros_like(labels),
        batch_size=batch_size,
        world_size=world_size,
        seed=seed,
    )


def drawn(part, labels, m, epochs=4):
    """Every epoch as (classes [batches, n], rows [batches, n, m])."""
    for n in range(epochs):
        rows = part.epoch(n).reshape(part.batches, -1, m)
        classes = labels[rows]
        assert (classes == classes[..., :1]).all()
        yield classes[..., 0], rows


@pytest.mark.parametrize("n", [1, 2, 3, 4, 9])
def test_every_class_comes_once_an_epoch_whatever_its_size(n):
    """finegrained row 3."""
    labels = labels_of()
    for classes, _ in drawn(sampler("balanced(m=4)", batch_size=4 * n), labels, 4):
        assert set(classes.ravel()) == {label for label, count in enumerate(COUNTS) if count > 1}
        assert all(len(set(batch)) == n for batch in classes)
        assert len(classes) == -(-9 // n)
        whole = classes.ravel()[:9]
        assert len(set(whole)) == 9  # only what fills the last batch comes a second time


def test_an_epoch_of_the_balanced_sampler_is_a_function_of_seed_and_number():
    """finegrained row 3."""
    first = sampler("balanced(m=4)", seed=3).epoch(5)
    other = sampler("balanced(m=4)", seed=3)
    other.epoch(1)
    np.random.seed(7)
    assert np.array_equal(other.epoch(5), first)
    assert not np.array_equal(first, other.epoch(6))
    assert not np.array_equal(first, sampler("balanced(m=4)", seed=4).epoch(5))


def test_the_images_of_a_class_are_drawn_evenly():
    labels = np.repeat([0, 1], 10)
    part = sampler("balanced(m=4)", labels, batch_size=8)
    counts = np.bincount(np.concatenate([part.epoch(n).ravel() for n in range(500)]))
    assert np.abs(counts / counts.sum() - 1 / 20).max() < 0.01


@pytest.mark.parametrize("replace", [False, True])
def test_an_image_comes_twice_in_a_batch_only_with_replacement(replace):
    """finegrained row 3: the contest's code draws with replacement."""
    labels = np.repeat([0, 1, 2], 6)
    twice = 0
    for _, rows in drawn(
        sampler(f"balanced(m=4, replace={replace})", labels, 12), labels, 4, epochs=20
    ):
        twice += sum(len(set(run)) < 4 for run in rows.reshape(-1, 4))
    assert (twice > 0) == replace


def test_small_classes_are_used_up_before_an_image_comes_again():
    labels = labels_of()
    for classes, rows in drawn(sampler("balanced(m=4)"), labels, 4):
        for label, run in zip(classes.ravel(), rows.reshape(-1, 4), strict=True):
            assert len(set(run)) == min(4, COUNTS[label])


def test_a_batch_may_hold_more_places_than_there_are_images():
    assert sampler("balanced(m=8)", np.repeat(np.arange(4), 2), 32).epoch(0).shape == (1, 32)


@pytest.mark.parametrize(
    "call, m", [("balanced(m=2, singletons='replace')", 2), ("pk(k=2, singletons='replace')", 2)]
)
def test_a_class_with_one_image_gives_its_place_to_another(call, m):
    """finegrained row 2."""
    labels = labels_of()
    part, shown = sampler(call), set()
    for classes, rows in drawn(part, labels, m, epochs=6):
        assert not {0, 8} & set(classes.ravel()) and all(len(set(batch)) == 4 for batch in classes)
        assert all(len(set(run)) == 2 for run in rows.reshape(-1, 2))
        shown |= set(classes.ravel())
    assert shown == set(range(11)) - {0, 8}


def test_replacing_is_as_long_as_repeating():
    """finegrained row 2: only what stands in the places differs."""
    for name, k in (("balanced", "m"), ("pk", "k")):
        lengths = {
            sampler(f"{name}({k}=2, singletons={rule!r})").batches for rule in ("repeat", "replace")
        }
        assert len(lengths) == 1


@pytest.mark.parametrize(
    "call, counts, batch, world, expected",
    [
        ("balanced(m=4)", (5,) * 3, 16, 1, "from 4 to 12"),
        ("balanced(m=4)", (1,) * 9, 16, 1, "too few"),
        ("balanced(m=4)", (5,) * 9, 18, 1, "a multiple of 4"),
        ("balanced(m=4)", (5,) * 9, 12, 2, "a multiple of 8"),
        ("balanced(m=0)", (5,) * 9, 12, 1, "k=0"),
        ("balanced(singletons='error')", (1, 5, 5), 8, 1, "1 classes have one"),
        ("balanced(singletons='keep')", (5, 5), 8, 1, "'repeat', 'drop', 'replace' or 'error'"),
        (
            "balanced(singletons='replace')",
            (1, 1, 5),
            8,
            1,
            "1 classes have two images or more, a batch needs 2",
        ),
        (
            "pk(singletons='replace')",
            (1, 1, 5, 5, 5),
            16,
            1,
            "3 classes have two images or more, a batch needs 4",
        ),
    ],
)
def test_what_cannot_be_drawn_is_refused_when_built(call, counts, batch, world, expected):
    with pytest.raises(UsageError, match=expected):
        sampler(call, labels_of(counts), batch, world)


def test_every_process_gets_whole_classes():
    labels = labels_of()
    part = sampler("balanced(m=4)", labels, 32, world_size=2)
    for batch in part.epoch(0):
        halves = [set(labels[half]) for half in batch.reshape(2, 16)]
        assert [len(half) for half in halves] == [4, 4] and not halves[0] & halves[1]
