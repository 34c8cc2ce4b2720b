"""One way to length 1, for all sizes of numbers."""

import numpy as np
import pytest

from fastseek.errors import DataError
from fastseek.knn.vectors import unit_rows


@pytest.mark.parametrize("scale", [1e-25, 1.0, 1e25])
def test_rows_have_length_one_and_their_direction(scale):
    given = np.random.default_rng(0).normal(size=(50, 7)).astype(np.float32) * np.float32(scale)
    made = unit_rows(given)
    wanted = given.astype(float) / np.linalg.norm(given.astype(float), axis=1, keepdims=True)
    assert made.dtype == np.float32
    np.testing.assert_allclose(made, wanted, atol=1e-6)


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_a_row_without_a_direction_is_named(value):
    given = np.ones((4, 3))
    given[2] = value
    with pytest.raises(DataError, match="photo 2 is zero or not finite: look at it"):
        unit_rows(given, "photo", "look at it")
