import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from fastseek.rerank import _sparse_jaccard
from fastseek.rerank._sparse_jaccard import Overlaps, iterate_overlaps


def encodings(seed, rows, columns):
    random = np.random.default_rng(seed)
    return (random.random((rows, columns)) * (random.random((rows, columns)) < 0.3)).astype(
        np.float32
    )


def slow(asked, images):
    return np.minimum(asked[:, None].astype(np.float64), images[None]).sum(axis=2)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10_000),
    st.integers(1, 9),
    st.integers(1, 12),
    st.sampled_from([1, 7, 40, 1 << 18]),
)
def test_overlaps_with_all_images_are_sums_of_the_smaller_weights(seed, queries, images, touched):
    asked, theirs = encodings(seed, queries, 15), encodings(seed + 1, images, 15)
    usual, _sparse_jaccard.TOUCHED = _sparse_jaccard.TOUCHED, touched
    try:
        parts = list(iterate_overlaps(csr_array(asked), csr_array(theirs).T.tocsr()))
    finally:
        _sparse_jaccard.TOUCHED = usual
    np.testing.assert_array_equal(
        np.concatenate([np.arange(queries)[rows] for rows, _ in parts]), np.arange(queries)
    )
    np.testing.assert_allclose(
        np.concatenate([part for _, part in parts]), slow(asked, theirs), rtol=1e-6, atol=0
    )


@pytest.mark.parametrize("listed", [[0, 3, 3, 1], []])
def test_overlaps_with_named_images_are_those_with_all(listed):
    asked, theirs = encodings(3, 2, 15), encodings(4, 5, 15)
    found = Overlaps(15)
    for row in range(2):
        ours = found.add_up(csr_array(asked), row, csr_array(theirs), np.array(listed, int))
        np.testing.assert_allclose(ours, slow(asked, theirs)[row, listed], rtol=1e-12, atol=0)
