"""Laws of the samplers: exact, pure, complete, and never endless."""

import numpy as np
import pytest

from fastseek.data import samplers  # noqa: F401
from fastseek.errors import UsageError
from fastseek.registry import SAMPLERS, build

CALLS = ("shuffle()", "pk(k=2)", "balanced_pk(k=2)", "imbalanced()")
COUNTS = (1, 2, 3, 4, 5, 9, 16, 30)


def labels_of(counts=COUNTS, seed=0):
    return np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))


def sampler(call, labels=None, batch_size=8, groups=None, world_size=1, seed=0):
    labels = labels_of() if labels is None else np.asarray(labels)
    groups = np.zeros_like(labels) if groups is None else groups
    return build(
        call,
        SAMPLERS,
        labels=labels,
        groups=groups,
        batch_size=batch_size,
        world_size=world_size,
        seed=seed,
    )


@pytest.mark.parametrize("call", CALLS)
def test_an_epoch_is_a_function_of_seed_and_number(call):
    """finegrained row 1."""
    first = [sampler(call, seed=3).epoch(n) for n in (0, 1, 5)]
    other = sampler(call, seed=3)
    np.random.seed(99)  # the global generators have no say
    for n, place in ((5, 2), (0, 0), (1, 1)):
        assert np.array_equal(other.epoch(n), first[place])
    assert not np.array_equal(first[0], first[1])
    assert not np.array_equal(first[0], sampler(call, seed=4).epoch(0))


@pytest.mark.parametrize("call", CALLS)
def test_the_global_generator_is_not_drawn_from(call):
    before = np.random.get_state()[1].copy()
    sampler(call).epoch(2)
    assert np.array_equal(before, np.random.get_state()[1])


@pytest.mark.parametrize("call", CALLS)
def test_every_epoch_has_as_many_batches_as_there_are_images_for(call):
    """trap 5: the length is no upper bound, it is the length."""
    shapes = {sampler(call).epoch(n).shape for n in range(12)}
    assert shapes == {(sum(COUNTS) // 8, 8)}
    assert sampler(call).epoch(0).dtype == np.int64


@pytest.mark.parametrize("call", CALLS)
def test_labels_are_not_changed_and_need_not_be_dense(call):
    sparse = labels_of() * 1000 - 7
    before = sparse.copy()
    assert np.array_equal(sampler(call, sparse).epoch(1), sampler(call).epoch(1))
    assert np.array_equal(sparse, before)


@pytest.mark.parametrize("seed", range(5))
def test_shuffle_shows_no_image_twice_an_epoch(seed):
    rows = sampler("shuffle()", seed=seed).epoch(1).ravel()
    assert len(set(rows)) == len(rows) and set(rows) <= set(range(sum(COUNTS)))


def test_shuffle_shows_every_image_in_the_long_run():
    shuffle = sampler("shuffle()", np.arange(11), batch_size=4)
    assert {row for n in range(20) for row in shuffle.epoch(n).ravel()} == set(range(11))


@pytest.mark.parametrize("name", ["pk", "balanced_pk"])
@pytest.mark.parametrize("k, p", [(1, 8), (2, 4), (3, 3), (4, 2), (5, 8), (8, 1)])
def test_batches_are_exactly_p_classes_of_k_images(name, k, p):
    """finegrained row 1."""
    labels = labels_of()
    for n in range(4):
        for batch in sampler(f"{name}(k={k})", batch_size=p * k).epoch(n):
            classes = labels[batch].reshape(p, k)
            assert (classes == classes[:, :1]).all() and len(set(classes[:, 0])) == p


@pytest.mark.parametrize("name", ["pk", "balanced_pk"])
def test_no_image_comes_again_before_its_class_is_used_up(name):
    labels = labels_of()
    for n in range(6):
        for batch in sampler(f"{name}(k=4)", batch_size=8).epoch(n):
            for run in batch.reshape(-1, 4):
                assert len(set(run)) == min(4, COUNTS[labels[run[0]]])


def test_within_a_round_pk_shows_no_image_twice():
    labels = np.repeat(np.arange(4), 8)
    for n in range(5):
        rows = sampler("pk(k=4)", labels, batch_size=16).epoch(n).ravel()
        assert sorted(rows) == list(range(32))


def test_pk_is_what_its_definition_says():
    """A slow twin that follows the text: runs of K per class, P open classes a batch, each gives
    its next run.
    """
    labels, p, k = labels_of(), 3, 2
    for n in range(4):
        open_runs = None
        for batch in sampler("pk(k=2)", batch_size=p * k).epoch(n):
            runs = [tuple(run) for run in batch.reshape(p, k)]
            classes = [labels[run[0]] for run in runs]
            if open_runs is None or sum(count > 0 for count in open_runs.values()) < p:
                open_runs = {label: max(1, count // k) for label, count in enumerate(COUNTS)}
                seen = set()
            for label, run in zip(classes, runs, strict=True):
                assert open_runs[label] > 0
                open_runs[label] -= 1
                assert COUNTS[label] < k or not seen & set(run)
                seen.update(run)


def test_pk_draws_classes_evenly_in_the_long_run():
    labels = np.repeat(np.arange(6), 4)
    pk = sampler("pk(k=4)", labels, batch_size=8)
    first = np.concatenate([labels[pk.epoch(n)[0].reshape(2, 4)[:, 0]] for n in range(600)])
    assert np.abs(np.bincount(first) / len(first) - 1 / 6).max() < 0.03


def test_balanced_pk_shows_every_class_equally_often():
    labels = labels_of()
    balanced = sampler("balanced_pk(k=2)", batch_size=16)
    for n in range(4):
        classes = np.bincount(labels[balanced.epoch(n)].ravel(), minlength=8)
        assert len(set(classes)) == 1


@pytest.mark.parametrize("cameras", [(0, 0, 1, 2), (0, 1, 2, 3), (0, 0, 0, 1), (0, 0, 0, 0)])
def test_balanced_pk_takes_other_cameras_first(cameras):
    labels, groups = np.repeat([0, 1], 4), np.array(cameras * 2)
    for n in range(10):
        for batch in sampler("balanced_pk(k=3)", labels, batch_size=6, groups=groups).epoch(n):
            for run in batch.reshape(2, 3):
                others = int((np.array(cameras) != groups[run[0]]).sum())
                assert (groups[run[1:]] != groups[run[0]]).sum() == min(2, others)
                assert len(set(run)) == 3


def test_imbalanced_shows_rare_classes_as_often_as_others():
    labels = np.repeat([0, 1, 2], [1, 10, 300])
    drawn = np.concatenate(
        [sampler("imbalanced()", labels, batch_size=10).epoch(n).ravel() for n in range(20)]
    )
    assert np.abs(np.bincount(labels[drawn]) / len(drawn) - 1 / 3).max() < 0.03
    assert set(drawn) == set(range(311))


@pytest.mark.parametrize("rule, classes", [("repeat", 8), ("drop", 7)])
@pytest.mark.parametrize("name", ["pk", "balanced_pk"])
def test_classes_with_one_image_are_repeated_or_dropped(name, rule, classes):
    """finegrained row 2."""
    labels = labels_of()
    part = sampler(f"{name}(k=2, singletons={rule!r})", batch_size=14)
    shown = {label for n in range(9) for label in labels[part.epoch(n)].ravel()}
    assert len(shown) == classes


def test_classes_with_one_image_may_be_an_error():
    with pytest.raises(UsageError, match="1 classes have one image only"):
        sampler("pk(k=2, singletons='error')")
    assert len(sampler("pk(k=2, singletons='error')", np.repeat(np.arange(8), 2)).epoch(0)) == 2
    with pytest.raises(UsageError, match="'repeat', 'drop', 'replace' or 'error'"):
        sampler("pk(singletons='keep')")


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_every_process_gets_whole_classes_and_no_image_of_another(call, world_size):
    labels = labels_of((6,) * 8)
    for batch in sampler(call, labels, batch_size=16, world_size=world_size).epoch(0):
        runs = batch.reshape(world_size, -1)
        if "pk" in call:
            classes = [set(labels[run]) for run in runs]
            assert sum(map(len, classes)) == len(set(labels[batch])) == 8
        if call != "imbalanced()":
            assert len(set(batch)) == 16


# (call, images a class, batch, processes, what the message must hold)
IMPOSSIBLE = [
    ("shuffle()", (3, 3), 7, 1, "from 1 to 6"),
    ("shuffle()", (3, 3), 0, 1, "from 1 to 6"),
    ("shuffle()", (3, 3), -2, 1, "from 1 to 6"),
    ("shuffle()", (9, 9), 64, 3, "a multiple of 3"),
    ("shuffle()", (1,), 2, 2, "too few"),
    ("imbalanced()", (3, 3), 7, 1, "from 1 to 6"),
    ("pk(k=4)", (8,) * 8, 18, 1, "a multiple of 4"),
    ("pk(k=4)", (8,) * 8, 2, 1, "from 4 to 32"),
    ("pk(k=4)", (8,) * 8, 36, 1, "from 4 to 32"),
    ("pk(k=4)", (8,) * 8, 12, 2, "a multiple of 8"),
    ("pk(k=4)", (8,) * 3, 16, 1, "from 4 to 12"),
    ("pk(k=4)", (8,) * 3, 16, 2, "from 8 to 8"),
    ("pk(k=4)", (8,), 8, 2, "too few"),
    ("pk(k=0)", (8,) * 8, 16, 1, "k=0"),
    ("pk(k=4, singletons='drop')", (1,) * 8, 8, 1, "0 images of 0 classes are too few"),
    ("balanced_pk(k=4)", (8,) * 8, 18, 1, "a multiple of 4"),
    ("balanced_pk(k=4)", (8,) * 3, 16, 1, "from 4 to 12"),
    ("balanced_pk(k=4)", (1,) * 8, 16, 1, "from 4 to 8"),
]


@pytest.mark.parametrize("call, counts, batch_size, world_size, expected", IMPOSSIBLE)
def test_what_cannot_work_is_refused_before_the_first_batch_with_the_legal_values(
    call, counts, batch_size, world_size, expected
):
    with pytest.raises(UsageError, match=expected):
        sampler(call, labels_of(counts), batch_size, world_size=world_size)


@pytest.mark.parametrize("name", ["pk", "balanced_pk"])
def test_every_legal_setting_ends_and_every_other_is_refused(name):
    """All small cases: the answer is batches of the right shape, or an error; never an endless
    loop.
    """
    made = refused = 0
    for counts in ((1, 1), (1, 2, 3), (2, 2, 2, 2), (5, 1, 1, 1), (7, 7)):
        for k in (1, 2, 3):
            for batch_size in range(1, 13):
                for world_size in (1, 2):
                    labels = labels_of(counts)
                    legal = (
                        batch_size % (k * world_size) == 0
                        and batch_size <= len(labels)
                        and batch_size // k <= len(counts)
                    )
                    try:
                        part = sampler(f"{name}(k={k})", labels, batch_size, world_size=world_size)
                    except UsageError:
                        refused += 1
                        assert not legal
                    else:
                        made += 1
                        assert legal and part.epoch(0).shape == (
                            len(labels) // batch_size,
                            batch_size,
                        )
    assert made > 50 and refused > 50


@pytest.mark.parametrize(
    "call", ["pk(k=4)", "balanced_pk(k=4)", "balanced(m=4, singletons='repeat')"]
)
def test_F62_images_paired_with_themselves_are_told(call, caplog):
    counts = (1, 1, 4, 5)
    labels = np.repeat(np.arange(len(counts)), counts)
    options = {"labels": labels, "groups": labels, "batch_size": 8}
    build(call, SAMPLERS, **options)
    assert "2 of 4 classes have one image only" in caplog.text
    caplog.clear()
    build(
        call.rstrip(")").replace(", singletons='repeat'", "") + ", singletons='drop')",
        SAMPLERS,
        **options,
    )
    assert caplog.text == ""
