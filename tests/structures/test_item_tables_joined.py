"""Laws of tables of items that are built block by block and joined: each equals its list."""

import dataclasses
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastseek.data.label_index import columns
from fastseek.structures import Item, ItemTable, Kind, with_split
from fastseek.structures import item_columns as held
from fastseek.structures.identity import unique_items
from fastseek.structures.item_table import join_items, join_tables
from fastseek.structures.item_table_builder import ItemTableBuilder, as_table

OF = [Kind("train", "/a"), Kind("query", "/b"), Kind("gallery", "/a")]
TEXTS = st.sampled_from(["", "x", "é", "über/ein", "10", "9", "\udce9.jpg"])


@st.composite
def rows(draw, least=0):
    count = draw(st.integers(least, 12))
    kinds = draw(st.lists(st.integers(0, 2), min_size=count, max_size=count))
    cells = [draw(st.lists(TEXTS, min_size=count, max_size=count)) for _ in range(4)]
    return [
        (f"{row}{name}", kind, label, group, own or f"{row}{name}", note)
        for row, (kind, name, label, group, own, note) in enumerate(
            zip(kinds, cells[0], cells[1], cells[2], cells[3], cells[0], strict=True)
        )
    ]


def slow(found):
    return [
        Item(f"{OF[kind].root}/{own}", label, group, OF[kind].split, name, {"note": note})
        for name, kind, label, group, own, note in found
    ]


def build(found, block=5):
    builder = ItemTableBuilder(OF)
    for start in range(0, len(found), block):
        ids, kinds, labels, groups, names, notes = zip(*found[start : start + block], strict=True)
        builder.add(ids, kinds, labels, names=names, groups=groups, meta={"note": notes})
    return builder.build()


@given(found=rows(), block=st.integers(1, 6))
@settings(max_examples=60, deadline=None)
def test_blocks_of_any_size_give_the_table_of_the_rows(found, block):
    table, listed = build(found, block), slow(found)
    assert list(table) == listed and table == listed and not table == [*listed, "more"]
    assert list(table.paths) == [item.path for item in listed]
    assert list(table[::-1]) == listed[::-1]
    assert list(pickle.loads(pickle.dumps(table))) == listed
    assert columns(table)[0][0] == columns(listed)[0][0]
    assert columns(table)[1][0] == columns(listed)[1][0] or not found
    for mine, theirs in zip(columns(table), columns(listed), strict=True):
        np.testing.assert_array_equal(mine[1], theirs[1])
    for split in ("train", "query", "gallery"):
        assert list(with_split(table, split)) == with_split(listed, split)


@given(first=rows(), second=rows(), block=st.integers(1, 6))
@settings(max_examples=60, deadline=None)
def test_joined_tables_are_the_joined_lists(first, second, block):
    tables = build(first, block), build(second, block)
    joined = join_tables(tables)
    assert list(joined) == [*slow(first), *slow(second)] == list(tables[0] + tables[1])
    assert list(join_items(tables)) == list(joined) == join_items([tables[0], list(tables[1])])
    assert list(joined.labels) == sorted(joined.labels)
    bare = [dataclasses.replace(item, meta={}) for item in slow(second)]
    builder = ItemTableBuilder(OF)
    for item in bare:
        builder.add(
            [item.id],
            OF.index(Kind(item.split, item.path[:2])),
            [item.label],
            [item.path[3:]],
            [item.group],
        )
    mixed = join_tables([tables[0], builder.build()])
    assert list(mixed) == [*slow(first), *bare]


@given(found=rows())
@settings(max_examples=40, deadline=None)
def test_a_list_as_a_table_is_the_list(found):
    listed = slow(found)
    some = [
        dataclasses.replace(item, meta={}) if row % 2 else item for row, item in enumerate(listed)
    ]
    assert list(as_table(some)) == some and as_table(build(found)).nbytes == build(found).nbytes


@given(found=rows(1))
@settings(max_examples=40, deadline=None)
def test_a_table_with_something_changed_is_the_list_so_changed(found):
    table, listed = build(found), slow(found)
    assert list(table.in_split("gallery")) == [
        dataclasses.replace(item, split="gallery") for item in listed
    ]
    assert list(table.with_prefix("1/")) == [
        dataclasses.replace(item, id=f"1/{item.id}") for item in listed
    ]
    assert list(table.with_meta("source", "s")) == [
        dataclasses.replace(item, meta={**item.meta, "source": "s"}) for item in listed
    ]
    seen, added = {item.path for item in listed if item.split == "train"}, []
    for item in listed:
        if item.path not in seen:
            seen.add(item.path)
            added.append(dataclasses.replace(item, split="train"))
    assert list(table.all_trained_on()) == [*listed, *added]


@given(found=rows(), again=st.lists(st.integers(0, 11), max_size=5))
@settings(max_examples=40, deadline=None)
def test_every_image_once_is_the_same_of_a_table_and_of_a_list(found, again):
    twice = [*found, *(found[row] for row in again if row < len(found))]
    assert list(unique_items(build(twice), "x")) == unique_items(slow(twice), "x")


VALUES = [
    ["a", "b", "a", None],
    [1.5, float("inf")],
    [1, 2, 1 << 70],
    [True, 1, 1.0, "1"],
    [["a"], {"b": 1}],
    [None, None],
    [],
]


@pytest.mark.parametrize("values", VALUES)
@pytest.mark.parametrize("most", [1 << 16, 1])
@pytest.mark.parametrize("more", [[], ["x", "y"], [3.5]])
def test_a_column_gives_back_what_it_was_given(values, most, more, monkeypatch):
    monkeypatch.setattr(held, "MOST_SHARED", most)
    collected = held.ValueCollector()
    collected.add(values)
    collected.add(more)
    column = collected.column()
    found = [held.value_at(column, row) for row in range(len(column))]
    wanted = [*values, *more]
    assert found == wanted and list(map(type, found)) == list(map(type, wanted))
    joined = held.join([column, column])
    assert [held.value_at(joined, row) for row in range(len(joined))] == [*wanted, *wanted]


def test_many_texts_are_kept_as_letters_and_few_as_numbers():
    few, many = held.ValueCollector(), held.ValueCollector()
    for start in range(0, 200_000, 50_000):
        few.add([f"{row % 100}" for row in range(start, start + 50_000)])
        many.add([f"{row}" for row in range(start, start + 50_000)])
    assert isinstance(few.column(), held.Shared) and few.column().codes.itemsize == 2
    column = many.column()
    assert isinstance(column, held.IdColumn) and held.value_at(column, 123_456) == "123456"


def test_a_table_of_a_hundred_thousand_rows_takes_few_bytes_a_row():
    builder = ItemTableBuilder(OF)
    ids = [f"{row:08d}.jpg" for row in range(100_000)]
    builder.add(ids, labels=[name[5] for name in ids], names=[f"n{name}" for name in ids])
    table = builder.build()
    assert isinstance(table, ItemTable) and table[77_777].path == "/a/n00077777.jpg"
    assert table.nbytes / len(table) <= 40 + len(ids[0]) and table[:10].nbytes < 1000
