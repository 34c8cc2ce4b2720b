"""CSV files come back as they were written, and damaged ones are refused with their line."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastseek.errors import DataError
from fastseek.io import csv_rows

cells = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=5) | st.sampled_from(
    ["a,b", 'say "x"', "two\nlines", " spaces ", "=1+1"]
)


@given(st.lists(st.tuples(cells, cells).filter(lambda row: any(map(str.strip, row))), max_size=5))
def test_rows_come_back_as_they_were_written(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    csv_rows.write(path, ("one", "two"), rows)
    assert [tuple(row) for _, row in csv_rows.read(path, ("one", "two"), only=True)] == rows
    assert [row for _, row in csv_rows.read(path, ("two",))] == [[row[1]] for row in rows]


def test_names_that_are_no_utf8_come_back_where_they_are_wanted(tmp_path):
    name = os.fsdecode(b"\xff.jpg")
    csv_rows.write(tmp_path / "t.csv", ("path",), [(name,)])
    assert (tmp_path / "t.csv").read_bytes() == b"path\n\xff.jpg\n"
    assert list(csv_rows.read(tmp_path / "t.csv", ("path",), raw_names=True)) == [(2, [name])]
    with pytest.raises(DataError, match=r"t\.csv:2: not UTF-8"):
        list(csv_rows.read(tmp_path / "t.csv", ("path",)))


def test_a_mark_is_refused_unless_it_is_allowed(tmp_path):
    (tmp_path / "t.csv").write_bytes("\ufeffid\na\n".encode())
    assert list(csv_rows.read(tmp_path / "t.csv", ("id",), allow_mark=True)) == [(2, ["a"])]
    assert csv_rows.read_header(tmp_path / "t.csv") == ["id"]
    with pytest.raises(DataError, match="byte order mark"):
        list(csv_rows.read(tmp_path / "t.csv", ("id",)))


def test_a_failing_source_of_rows_leaves_the_file_as_it_was(tmp_path):
    (tmp_path / "t.csv").write_text("before")

    def rows():
        yield ("a",)
        raise ValueError

    with pytest.raises(ValueError):
        csv_rows.write(tmp_path / "t.csv", ("id",), rows())
    assert (tmp_path / "t.csv").read_text() == "before" and os.listdir(tmp_path) == ["t.csv"]


@given(st.text("'=+-@\t\r1a. ", max_size=6))
def test_F66_a_name_in_a_table_for_people_is_never_a_formula_and_comes_back(name):
    guarded = csv_rows.guard_cell(name)
    assert guarded[:1] not in csv_rows.FORMULA
    assert csv_rows.unguard_cell(guarded) == name
    if name[:1] not in ("'", *csv_rows.FORMULA):
        assert guarded == name
