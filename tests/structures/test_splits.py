"""The sides of an evaluation; a query without a vector ends it by its name."""

import numpy as np
import pytest

from fastseek.errors import DataError
from fastseek.structures import Item, Kind
from fastseek.structures.item_table_builder import ItemTableBuilder
from fastseek.structures.splits import refuse_missing_queries, take_both_sides

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


SPLITS = ("train", "test", "gallery", "distractor", "query")


@pytest.mark.parametrize("kept", [SPLITS, ("train", "test"), ("train", "query", "gallery")])
@pytest.mark.parametrize("as_a_table", [False, True])
def test_test_images_ask_and_are_searched_and_nothing_else_changes(kept, as_a_table):
    names = [f"{split}{number}" for number in range(2) for split in kept]
    items = [Item(f"/r/{name}", name[-1], "", name[:-1], name) for name in names]
    if as_a_table:
        builder = ItemTableBuilder([Kind(split, "/r") for split in SPLITS])
        builder.add(names, [SPLITS.index(one.split) for one in items], [n[-1] for n in names])
        items = builder.build()
    sides = {"test": ("query", "gallery"), "distractor": ("gallery",)}
    expected = {(name, side) for name in names for side in sides.get(name[:-1], (name[:-1],))}
    found = take_both_sides(items)
    assert {(item.id, item.split) for item in found} == expected and len(found) == len(expected)
    assert all(item.path == f"/r/{item.id}" for item in found)
    # A distractor answers nothing, whatever its label.
    labels = {item.id: "" if item.id[:-1] == "distractor" else item.id[-1] for item in found}
    assert all(item.label == labels[item.id] for item in found)
    assert isinstance(found, type(items)) and [item.id for item in items] == names
