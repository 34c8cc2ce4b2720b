"""Blends, evolved weights, priors, gates, confusion and the refitted head."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastseek.classification.blend import align_members, blend_members
from fastseek.classification.confusion import confused_pairs
from fastseek.classification.evolve import evolve, simplex
from fastseek.classification.gate import fit_gate, separation
from fastseek.classification.prior import with_prior
from fastseek.classification.refit import Refit
from fastseek.errors import ArtefactError, DataError, UsageError
from fastseek.structures import Embeddings


def rows(seed, photos=40, classes=5):
    return np.random.default_rng(seed).dirichlet(np.ones(classes), photos).astype(np.float32)


def member(probabilities, ids, classes):
    return Embeddings(ids, probabilities, {"classes": list(classes)})


def test_members_are_matched_by_the_names_of_photos_and_classes():
    table, ids, classes = rows(0), [f"p{n}" for n in range(40)], list("abcde")
    random = np.random.default_rng(1)
    photos, columns = random.permutation(40), random.permutation(5)
    other = member(table[photos][:, columns], np.array(ids)[photos], np.array(classes)[columns])
    stack = align_members([member(table, ids, classes), other])
    assert np.array_equal(stack[0], stack[1])


@pytest.mark.parametrize("harm", ["photo", "class", "kind"])
def test_a_member_that_does_not_fit_is_named(harm):
    table, ids, classes = rows(0), [f"p{n}" for n in range(40)], list("abcde")
    other = {
        "photo": member(table, [*ids[1:], "q"], classes),
        "class": member(table, ids, list("abcdf")),
        "kind": Embeddings(ids, table),
    }[harm]
    with pytest.raises(ArtefactError, match="second"):
        align_members([member(table, ids, classes), other], ["first", "second"])


@pytest.mark.parametrize("mean", ["probabilities", "logits"])
def test_blending_a_member_with_itself_changes_nothing_and_only_proportions_count(mean):
    table = rows(2)
    assert np.allclose(blend_members(np.stack([table, table]), (3, 1), mean), table, atol=1e-6)
    stack = np.stack([table, rows(3)])
    assert np.allclose(
        blend_members(stack, (1, 2), mean), blend_members(stack, (10, 20), mean), atol=1e-6
    )
    assert np.allclose(blend_members(stack, None, mean).sum(axis=1), 1, atol=1e-5)


def test_the_mean_of_logits_is_the_softmax_of_the_mean():
    stack = np.stack([rows(4), rows(5)])
    logits = np.log(stack.astype(float)).mean(axis=0)
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert np.allclose(blend_members(stack, None, "logits"), expected, atol=1e-6)


@pytest.mark.parametrize("weights", [(1,), (0, 0), (-1, 2), (np.nan, 1)])
def test_impossible_weights_are_wrong_use(weights):
    with pytest.raises(UsageError):
        blend_members(np.stack([rows(0), rows(1)]), weights)


def planted(seed=0, photos=1200, classes=8, truth_weights=(0.7, 0.3, 0.0)):
    """Members whose weighted sum is right far more often than their mean: the third is noise that
    is sure of itself.
    """
    random = np.random.default_rng(seed)
    truth = random.integers(0, classes, photos)
    signal = np.eye(classes)[truth]
    shared = random.normal(0, 1.2, (photos, classes))
    tables = []
    for weight in truth_weights:
        logits = 3 * weight * signal + (
            shared if weight else 4 * random.normal(size=(photos, classes))
        )
        logits = logits + random.normal(0, 0.8, (photos, classes))
        powers = np.exp(logits)
        tables.append(powers / powers.sum(axis=1, keepdims=True))
    return np.stack(tables).astype(np.float32), truth, np.array([f"p{n}" for n in range(photos)])


@pytest.mark.parametrize("method", ["de", "cma"])
def test_evolution_drops_the_member_that_only_harms_and_proves_it_on_the_other_half(method):
    """finegrained row 79."""
    stack, truth, ids = planted()
    found = evolve(stack, truth, ids, seed=3, method=method)
    assert found.better and found.weights == found.found
    assert found.weights[2] < 0.1 and found.held_out["evolved"] > found.held_out["uniform"] + 0.02
    assert sum(found.weights) == pytest.approx(1)
    grid = [(a, b, 1 - a - b) for a in np.arange(0, 1.01, 0.1) for b in np.arange(0, 1.01 - a, 0.1)]
    best = max(
        np.mean(blend_members(stack, np.maximum(one, 0)).argmax(axis=1) == truth) for one in grid
    )
    assert np.mean(blend_members(stack, found.weights).argmax(axis=1) == truth) > best - 0.01


@pytest.mark.parametrize("method", ["de", "cma"])
def test_members_that_are_one_another_get_equal_weights(method):
    stack, truth, ids = planted()
    found = evolve(np.stack([stack[0]] * 3), truth, ids, method=method)
    assert not found.better and found.weights == pytest.approx((1 / 3,) * 3)


def test_evolution_depends_on_names_and_seed_not_on_the_order_of_photos():
    stack, truth, ids = planted(photos=200)
    order = np.random.default_rng(0).permutation(len(ids))
    first, second = (
        evolve(stack, truth, ids, 1),
        evolve(stack[:, order], truth[order], ids[order], 1),
    )
    assert first.held_out == second.held_out and np.allclose(first.weights, second.weights)


def test_photos_of_no_known_class_take_no_part():
    stack, truth, ids = planted(photos=200)
    more = np.concatenate([stack, stack[:, :50]], axis=1)
    padded = evolve(
        more,
        np.concatenate([truth, np.full(50, -1)]),
        np.concatenate([ids, [f"x{n}" for n in range(50)]]),
    )
    assert padded == evolve(stack, truth, ids)
    with pytest.raises(DataError):
        evolve(stack, truth * 0 - 1, ids)


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=6))
@settings(max_examples=40, deadline=None)
def test_a_point_of_the_simplex_is_not_negative_and_sums_to_one(values):
    share = simplex(np.array(values))
    assert (share >= 0).all() and share.sum() == pytest.approx(1)


def test_the_prior_multiplies_where_the_place_is_known_and_does_nothing_elsewhere():
    """finegrained row 76."""
    table, prior = rows(6), rows(7)
    known = np.arange(40) % 2 == 0
    prior[1::2] = np.nan
    found = with_prior(table, prior, known)
    for n in range(40):
        expected = table[n] * prior[n] / (table[n] * prior[n]).sum() if known[n] else table[n]
        assert np.allclose(found[n], expected, atol=1e-6)
    assert np.allclose(with_prior(table, np.ones_like(table), known), table, atol=1e-6)
    assert np.allclose(with_prior(table, np.zeros_like(table), known), table)
    with pytest.raises(ArtefactError):
        with_prior(table, -np.ones_like(table), known)


def test_a_gate_lets_in_the_share_it_was_fitted_to_and_no_stricter_one_does():
    """finegrained row 69."""
    scores = np.random.default_rng(0).random(101)
    for keep in (0.5, 0.9, 0.95, 1.0):
        gate = fit_gate(scores, keep)
        assert gate(scores).mean() >= keep > (scores > gate.threshold).mean()
    assert gate(np.array([np.nan])).tolist() == [False]
    with pytest.raises(DataError):
        fit_gate(np.array([]))


@pytest.mark.parametrize(("keep", "images"), [(0.07, 100), (0.55, 100), (0.29, 100), (0.14, 50)])
def test_a_share_that_is_a_whole_number_of_images_lets_in_that_many_and_no_more(keep, images):
    """0.07 x 100 is 7.000000000000001 in floats."""
    scores = np.arange(images) / images
    assert fit_gate(scores, keep)(scores).sum() == round(keep * images)


def test_separation_is_how_often_a_pair_stands_in_the_right_order():
    random = np.random.default_rng(1)
    inside, outside = random.integers(3, 9, 30), random.integers(0, 6, 40)
    pairs = [(a > b) + 0.5 * (a == b) for a in inside for b in outside]
    assert separation(inside, outside) == pytest.approx(np.mean(pairs))
    assert separation(outside, inside) == pytest.approx(1 - np.mean(pairs))


def test_every_confused_photo_is_counted_in_the_pair_of_its_classes():
    """finegrained row 72."""
    table, truth = rows(8, 300), np.random.default_rng(9).integers(-1, 5, 300)
    pairs = confused_pairs(table, truth, list("abcde"), most=100)
    said = table.argmax(axis=1)
    for pair in pairs:
        one, other = "abcde".index(pair.first), "abcde".index(pair.second)
        assert pair.first_as_second == np.sum((truth == one) & (said == other))
        assert pair.second_as_first == np.sum((truth == other) & (said == one))
        assert pair.images == np.isin(truth, (one, other)).sum()
    assert sum(p.first_as_second + p.second_as_first for p in pairs) == np.sum(
        (truth >= 0) & (said != truth)
    )
    sizes = [pair.first_as_second + pair.second_as_first for pair in pairs]
    assert (
        sizes == sorted(sizes, reverse=True)
        and len(confused_pairs(table, truth, list("abcde"), 3)) == 3
    )


def embedded(seed, dim, truth):
    random = np.random.default_rng(seed)
    return random.normal(size=(6, dim))[truth] + 0.9 * random.normal(size=(len(truth), dim))


def test_an_inner_product_of_joined_embeddings_is_the_weighted_sum_of_cosines():
    """finegrained row 68."""
    truth = np.random.default_rng(0).integers(0, 6, 20)
    members = [embedded(1, 4, truth), embedded(2, 9, truth)]
    joined = Refit((3, 1)).concatenate(members)
    units = [m / np.linalg.norm(m, axis=1, keepdims=True) for m in members]
    assert np.allclose(
        joined @ joined.T, 0.75 * units[0] @ units[0].T + 0.25 * units[1] @ units[1].T
    )


def test_a_refitted_head_over_two_models_is_no_worse_than_over_either():
    truth = np.random.default_rng(0).integers(0, 6, 400)
    members = [embedded(1, 4, truth), embedded(2, 5, truth)]
    shares = []
    for chosen in ([members[0]], [members[1]], members):
        head = Refit().fit([m[:200] for m in chosen], truth[:200])
        found = head([m[200:] for m in chosen], 7)
        assert np.allclose(found.sum(axis=1), 1, atol=1e-5) and (found[:, 6] == 0).all()
        shares.append(np.mean(found.argmax(axis=1) == truth[200:]))
    assert shares[2] >= max(shares[:2])


def test_a_head_refuses_what_it_cannot_join():
    with pytest.raises(UsageError):
        Refit((1, 0))
    with pytest.raises(UsageError, match="fitted"):
        Refit()([np.ones((2, 2))], 2)
    with pytest.raises(ArtefactError):
        Refit().concatenate([np.ones((2, 2)), np.ones((3, 2))])
    with pytest.raises(ArtefactError, match="zero"):
        Refit().concatenate([np.zeros((2, 2))])
