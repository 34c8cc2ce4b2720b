"""Vectors that are not in memory answer like the array they stand for, whatever rows are asked for."""

import numpy as np
import pytest

from fastseek.structures.arrays import Computed, Picked, Shards, SideBySide, Window

WHOLE = np.arange(60, dtype=np.float32).reshape(20, 3)
NUMBERS = np.array([7, 0, 19, 7, -1])
KINDS = {
    "shards": (Shards([WHOLE[:4], WHOLE[4:4], WHOLE[4:]]), WHOLE),
    "window": (Window(WHOLE, 4, 15), WHOLE[4:15]),
    "picked": (Picked(WHOLE, NUMBERS), WHOLE[NUMBERS]),
    "side by side": (
        SideBySide([WHOLE, Shards([WHOLE[:9, :2], WHOLE[9:, :2]])]),
        np.concatenate([WHOLE, WHOLE[:, :2]], axis=1),
    ),
    "computed": (Computed(lambda rows: WHOLE[rows] * 2, WHOLE.shape), WHOLE * 2),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "rows",
    [slice(1, 4), slice(None, None, 3), slice(-2, None), slice(3, 3), np.array([2, 0, -1]), 1, -2],
    ids=str,
)
def test_rows_are_those_of_the_array(kind, rows):
    vectors, array = KINDS[kind]
    np.testing.assert_array_equal(vectors[rows], array[rows])


@pytest.mark.parametrize("kind", KINDS)
def test_shape_type_and_content_are_those_of_the_array(kind):
    vectors, array = KINDS[kind]
    assert vectors.shape == array.shape and vectors.dtype == array.dtype
    assert len(vectors) == len(array)
    np.testing.assert_array_equal(np.asarray(vectors), array)


def test_only_the_rows_that_are_asked_for_are_made():
    seen = []

    def make(rows):
        seen.append((rows.start, rows.stop))
        return WHOLE[rows]

    vectors = Computed(make, WHOLE.shape)
    assert vectors[np.array([], int)].shape == (0, 3) and seen == []
    np.testing.assert_array_equal(vectors[np.array([[5, 9], [7, 5]])], WHOLE[[[5, 9], [7, 5]]])
    assert seen == [(5, 10)]
