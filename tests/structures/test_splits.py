"""A query without a vector ends an evaluation by its name."""

import numpy as np
import pytest

from fastseek.errors import DataError
from fastseek.structures import Item
from fastseek.structures.splits import refuse_missing_queries

QUERIES = [Item(path=f"q/{name}.jpg", label="a", id=name) for name in "abc"]


@pytest.mark.parametrize(
    "rows, said",
    [
        ([0, 1], "q/c.jpg: query image cannot be read (see r.csv): mend"),
        ([1], "q/a.jpg: query image cannot be read (TRUNCATED), and 1 more: mend"),
    ],
)
def test_missing_queries_are_named_with_their_reason_and_the_others_counted(rows, said):
    with pytest.raises(DataError) as told:
        rejects = [{"row": 0, "code": "TRUNCATED"}]
        refuse_missing_queries(QUERIES, np.array(rows), rejects, unknown="see r.csv")
    assert said in str(told.value)


def test_no_missing_query_is_no_fault():
    refuse_missing_queries(QUERIES, np.arange(3))
