"""Columns stand below one another, and nothing but spaces is added."""

from hypothesis import given
from hypothesis import strategies as st

from fastseek.io.text_table import align_columns

cells = st.text("ab1.", min_size=1, max_size=6)
tables = st.integers(1, 4).flatmap(
    lambda width: st.lists(st.lists(cells, min_size=width, max_size=width), min_size=1, max_size=5)
)


def test_text_stands_left_and_numbers_right():
    rows = [["metric", "value", "note"], ["map", "0.5", "x"], ["recall", "12.5", ""]]
    assert align_columns(rows, left=(0, 2)).splitlines() == [
        "metric  value  note",
        "map       0.5  x",
        "recall   12.5",
    ]


@given(tables)
def test_every_cell_is_there_in_order_and_columns_begin_or_end_below_one_another(rows):
    lines = align_columns(rows).splitlines()
    assert [line.split() for line in lines] == rows
    assert len({len(line) for line in lines}) == 1 or len(rows[0]) == 1
