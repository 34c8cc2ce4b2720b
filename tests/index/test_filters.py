"""Filters against a slow twin: Python's own meaning of the same words, row by row."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twin import Twin, answers, draw

from fastseek.errors import UsageError
from fastseek.index import Index
from fastseek.index.filters import parse_filter

KINDS = {"price": "number", "size": "number", "shop": "text", "mark": "text"}
TEXTS = ("", "a", "b", "bé", "\U0001f41f", "it's")
NUMBERS = (None, -1.5, 0, 1, 2, 1e6)


def row():
    values = {"price": NUMBERS, "size": NUMBERS, "shop": TEXTS, "mark": TEXTS}
    return st.fixed_dictionaries({name: st.sampled_from(given) for name, given in values.items()})


SIGNS = st.sampled_from(("==", "!=", "<", "<=", ">", ">="))
NUMBER = st.sampled_from([str(one) for one in NUMBERS[1:]])
TEXT = st.sampled_from([repr(one) for one in TEXTS])
COMPARISON = st.one_of(
    st.builds("{} {} {}".format, st.sampled_from(("price", "size")), SIGNS, NUMBER),
    st.builds("{} {} {}".format, st.sampled_from(("shop", "mark", "id")), SIGNS, TEXT),
    st.builds("{} {} {}".format, TEXT, SIGNS, st.just("shop")),
    st.builds("price {} size".format, SIGNS),
    st.builds("{} < price <= {}".format, NUMBER, NUMBER),
    st.builds("shop {} ({}, {})".format, st.sampled_from(("in", "not in")), TEXT, TEXT),
    st.builds("price in [{}, {}]".format, NUMBER, NUMBER),
    st.sampled_from(("price is None", "shop is not None", "mark is None")),
)
FILTER = st.recursive(
    COMPARISON,
    lambda inner: st.one_of(
        st.builds("({}) and ({})".format, inner, inner),
        st.builds("({}) or ({})".format, inner, inner),
        st.builds("not ({})".format, inner),
    ),
    max_leaves=4,
)


class Missing:
    """A value that is not there: no comparison with it holds."""

    def holds_not(self, other):
        return False

    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = holds_not
    __hash__ = None


def passes(text, name, told):
    """Whether Python would let a row pass; a missing value is in nothing and equals nothing."""
    values = {key: None if value in (None, "") else value for key, value in told.items()}
    names = {key: Missing() if value is None else value for key, value in values.items()}
    for key in KINDS:
        text = text.replace(f"{key} is not None", str(values[key] is not None))
        text = text.replace(f"{key} is None", str(values[key] is None))
        if values[key] is None:
            text = text.replace(f"{key} not in", f"{key} in")
    return eval(text, {}, {**names, "id": name})


@settings(max_examples=40, deadline=None)
@given(rows=st.lists(row(), min_size=1, max_size=12), text=FILTER)
def test_a_filter_means_what_python_means(tmp_path_factory, rows, text):
    index = Index.create(tmp_path_factory.mktemp("filters") / "i")
    names = [f"{'bé' if number % 2 else 'a'}{number}" for number in range(len(rows))]
    columns = {name: [one[name] for one in rows] for name in KINDS}
    half = len(rows) // 2
    for part in (slice(0, half), slice(half, None)):
        metadata = {name: values[part] for name, values in columns.items()}
        for name in list(metadata):
            if all(value in (None, "") for value in metadata[name]):
                metadata.pop(name)
        index.add(names[part], draw(len(rows))[part], metadata)
    text = " and ".join([text, *(f"'' != {name}" for name in KINDS if name not in index.columns)])
    if set(KINDS) - set(index.columns):
        with pytest.raises(UsageError, match="no column is called"):
            index.select(text)
        return
    twin = Twin()
    twin.put(names, draw(len(rows)), columns)
    expected = sorted(name for name in names if passes(text, name, twin.rows[name][1]))
    assert index.select(text).tolist() == expected
    queries = draw(2, seed=4)
    told = twin.copy()
    told.delete(set(names) - set(expected))
    assert answers(index.search(queries, 3, text)) == told.search(queries, 3)


@pytest.mark.parametrize(
    "text, told",
    [
        ("prise < 3", "no column is called 'prise'; did you mean price?"),
        ("zebra < 3", "no column is called 'zebra'; there are price, size, shop, mark, id"),
        ("price < ", "cannot be read"),
        ("price < '3'", "price is a number, and is compared with something else: leave the quotes"),
        ("shop == 3", "shop is a text, and is compared with something else: quote the text"),
        ("shop == north", "no column is called 'north'"),
        ("3 < 4", "'3' is no column"),
        ("price", "'price' is no comparison"),
        ("price + 1 < 3", "'price + 1' is neither a column nor a number nor a text"),
        ("__import__('os').system('true')", "is no comparison"),
        ("shop == __import__('os').name", "neither a column nor"),
        ("shop.upper() == 'A'", "neither a column nor"),
        ("price in 3", "'3' is no list"),
        ("price in ()", "'()' is no list"),
        ("price in (1, 'a')", "holds numbers and texts"),
        ("price is 3", "only None can stand"),
        ("price < 1e999", "neither a column nor"),
        ("price < b'3'", "neither a column nor"),
        ("(lambda: 1) == price", "neither a column nor"),
        (" or ".join(["price < 3"] * 2000), "longer than 10000"),
        ("not " * 60 + "price < 3", "nested too deep"),
        ("(" * 900 + "price < 3" + ")" * 900, "cannot be read"),
    ],
)
def test_what_is_no_filter_is_refused_with_what_to_do(text, told):
    with pytest.raises(UsageError) as error:
        parse_filter(text, KINDS)
    assert told in str(error.value)


def test_a_filter_leaves_the_k_best_of_what_passes(tmp_path):
    index, twin = Index.create(tmp_path / "i"), Twin()
    names = [f"p{number}" for number in range(500)]
    told = {"price": list(range(500)), "shop": ["north", "south"] * 250}
    index.add(names, draw(500), told)
    twin.put(names, draw(500), told)
    index.delete(names[:100])
    twin.delete(names[:100])
    found = index.search(draw(5, seed=2), 8, "price >= 50 and shop == 'north'")
    kept = twin.search(
        draw(5, seed=2), 8, lambda row: row["price"] >= 50 and row["shop"] == "north"
    )
    assert answers(found) == kept and found.provenance["filter"].startswith("price")
    nothing = index.search(draw(5, seed=2), 8, "price < 100")
    assert nothing.indices.shape == (5, 0)


def test_numbers_may_be_numpy_and_missing_ones_nan(tmp_path):
    index = Index.create(tmp_path / "i")
    index.add(["a", "b"], draw(2), {"price": np.array([1.5, math.nan]), "n": np.array([3, 4])})
    assert index.metadata(["a", "b"]) == {"price": [1.5, None], "n": [3, 4]}
    assert index.select("price != 7").tolist() == ["a"]
    assert index.select("not price == 7").tolist() == ["a", "b"]


def test_a_truth_value_is_no_number():
    for text in ("price == True", "price in (False, 1)"):
        with pytest.raises(UsageError, match="neither a column nor a number nor a text"):
            parse_filter(text, {"price": "number"})
