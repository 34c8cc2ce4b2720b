"""Which local features of an image are kept."""

import numpy as np
import pytest

from fastseek.regions.local_tokens import choose_tokens


def planted(seed=0, groups=3, each=4):
    """Three groups of like features, each in its own corner."""
    random = np.random.default_rng(seed)
    centers = np.eye(8)[:groups]
    near = np.repeat(centers, each, axis=0) + 0.01 * random.normal(size=(groups * each, 8))
    corners = np.array([[0.1, 0.1], [0.9, 0.1], [0.1, 0.9]])[:groups]
    return near * random.uniform(1, 3, (groups * each, 1)), np.repeat(corners, each, axis=0)


def test_merging_finds_groups_and_their_places():
    vectors, places = planted()
    kept, where, weights = choose_tokens(vectors, places, 3)
    order = kept[:, :3].argmax(axis=1)
    assert sorted(order.tolist()) == [0, 1, 2]
    np.testing.assert_allclose(where, places[::4][order], atol=1e-6)
    np.testing.assert_allclose(weights, 1 / 3, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(kept, axis=1), 1, atol=1e-6)


def test_the_longest_are_kept_in_order_and_all_are_all():
    vectors, places = planted()
    lengths = np.linalg.norm(vectors, axis=1)
    kept, where, weights = choose_tokens(vectors, places, 5, "norm")
    rows = np.argsort(-lengths)[:5]
    np.testing.assert_allclose(kept, vectors[rows] / lengths[rows, None], rtol=1e-5)
    np.testing.assert_allclose(weights, lengths[rows] / lengths[rows].sum(), rtol=1e-5)
    every, there, _ = choose_tokens(vectors, places, 5, "all")
    assert len(every) == 12
    np.testing.assert_array_equal(there, places.astype(np.float32))


@pytest.mark.parametrize("how", ["norm", "merge"])
def test_fewer_places_than_asked_for_are_filled_with_nothing(how):
    vectors, places = planted(each=1)
    kept, where, weights = choose_tokens(vectors, places, 5, how)
    assert kept.shape == (5, 8) and where.shape == (5, 2)
    assert (weights > 0).tolist() == [True] * 3 + [False] * 2 and not kept[3:].any()


def test_like_features_make_fewer_groups_and_an_unknown_way_is_told():
    ones = np.ones((6, 4))
    _, _, weights = choose_tokens(ones, np.zeros((6, 2)), 3)
    assert weights.tolist() == [1, 0, 0]
    with pytest.raises(ValueError, match="merge, norm, all"):
        choose_tokens(ones, ones[:, :2], 3, "best")
