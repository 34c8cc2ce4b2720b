"""Rows are found by id, whatever the order; what is unknown is said to be."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fastseek.knn.align import rows_of

names = st.lists(st.text("ab1/é", max_size=3), max_size=12)


@given(names, names)
def test_it_is_the_look_up_in_a_dictionary(ids, known):
    first = {}
    for row, name in enumerate(known):
        first.setdefault(name, row)
    found = rows_of(ids, known)
    assert found.tolist() == [first.get(name, -1) for name in ids]
    assert found.dtype == np.int64


def test_ids_of_another_width_are_compared_whole():
    assert rows_of(["ab", "abc"], np.array(["abc", "a"])).tolist() == [-1, 0]


@given(st.permutations(list("abcdefg")))
def test_the_known_ones_in_the_found_order_are_the_ids(order):
    known = np.array(list("abcdefg"))
    np.testing.assert_array_equal(known[rows_of(order, known)], order)
