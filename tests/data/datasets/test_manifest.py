"""Laws of tables of images."""

import csv
import sys

import pytest

import toy
from fastseek.data.datasets import _table_blocks
from fastseek.data.own_images import spell_data_set
from fastseek.errors import DataError, UsageError
from fastseek.registry import DATASETS, build

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")


def manifest(file, **options):
    arguments = "".join(f", {key}={value!r}" for key, value in options.items())
    return build(f"manifest({str(file)!r}{arguments})", DATASETS)


def table(tmp_path, content, name="list.csv"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def read(tmp_path, content):
    return manifest(table(tmp_path, content)).items


def fault(tmp_path, content):
    with pytest.raises(DataError) as caught:
        manifest(table(tmp_path, content))
    return str(caught.value)


def test_a_table_may_still_be_named_by_the_argument_it_had(tmp_path):
    """Before columns could be named, the first argument was called path."""
    path = table(tmp_path, "path,label\na.jpg,x\n")
    again = build(f"manifest(path={str(path)!r})", DATASETS)
    assert again.items == manifest(path).items and len(again.items) == 1


def test_folder_csv_and_parquet_give_the_same_items(tmp_path):
    folder = build(f"folder({str(toy.gallery(tmp_path, classes=2, train=2, query=1))!r})", DATASETS)
    columns = ("path", "label", "split")
    rows = [(item.id, item.label, item.split) for item in folder.items]
    with open(tmp_path / "list.csv", "w", newline="") as file:
        csv.writer(file).writerows([columns, *rows])
    parquet.write_table(
        pyarrow.table(dict(zip(columns, map(list, zip(*rows, strict=True)), strict=True))),
        tmp_path / "list.parquet",
    )
    assert manifest(tmp_path / "list.csv").items == folder.items
    assert manifest(tmp_path / "list.parquet").items == folder.items


PLAIN = "path,label,group,split,id\na.jpg,cat,c1,query,one\nb c.jpg,dog,,,\n"
EXPECTED = [("a.jpg", "cat", "c1", "query", "one"), ("b c.jpg", "dog", "", "train", "b c.jpg")]
VARIANTS = {
    "plain": PLAIN,
    "byte order mark": "\ufeff" + PLAIN,
    "crlf": PLAIN.replace("\n", "\r\n"),
    "semicolon": PLAIN.replace(",", ";"),
    "tab": PLAIN.replace(",", "\t"),
    "quotes": PLAIN.replace("b c.jpg", '"b c.jpg"').replace("cat", '"cat"'),
    "space after comma": PLAIN.replace(",", ", "),
    "other order": "split,id,label,path,group\nquery,one,cat,a.jpg,c1\n,,dog,b c.jpg,\n",
    "blank lines": PLAIN.replace("\nb", "\n\n\nb") + "\n\n",
    "no last newline": PLAIN.rstrip("\n"),
    "spaces in the header": PLAIN.replace("path,label", " path , label"),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_every_way_to_write_the_table_gives_the_same_items(tmp_path, name):
    items = manifest(table(tmp_path, VARIANTS[name])).items
    assert [
        (item.path.removeprefix(f"{tmp_path}/"), item.label, item.group, item.split, item.id)
        for item in items
    ] == EXPECTED


def test_quoted_cells_may_hold_commas_quotes_and_line_ends(tmp_path):
    (item,) = manifest(table(tmp_path, 'path,label\n"a,""b"".jpg","two\nlines"\n')).items
    assert item.id == 'a,"b".jpg' and item.label == "two\nlines"


def test_other_columns_become_meta(tmp_path):
    (item,) = manifest(table(tmp_path, "path,lat,note\na.jpg,41.1,x\n")).items
    assert item.meta == {"lat": "41.1", "note": "x"} and item.label == ""


def test_paths_start_from_the_table_or_from_root(tmp_path):
    path = table(tmp_path, f"path\nb/a.jpg\n{tmp_path}/b/c.jpg\n/far/d.jpg\n")
    assert [item.path for item in manifest(path).items] == [
        f"{tmp_path}/b/a.jpg",
        f"{tmp_path}/b/c.jpg",
        "/far/d.jpg",
    ]
    assert [item.id for item in manifest(path).items] == ["b/a.jpg", "b/c.jpg", "/far/d.jpg"]
    (tmp_path / "else").mkdir()
    assert manifest(path, root=str(tmp_path / "else")).items[0].path == f"{tmp_path}/else/b/a.jpg"


def test_whole_numbers_are_labels_in_parquet(tmp_path):
    parquet.write_table(
        pyarrow.table({"path": ["a.jpg", "b.jpg"], "label": [3, None]}), tmp_path / "list.parquet"
    )
    assert [item.label for item in manifest(tmp_path / "list.parquet").items] == ["3", ""]


def test_an_id_may_stand_in_two_splits_but_once_in_each(tmp_path):
    head = "path,split\na.jpg,train\na.jpg,gallery\n"
    assert len(manifest(table(tmp_path, head)).items) == 2
    told = fault(tmp_path, head + "a.jpg,gallery\n")
    assert "list.csv:4" in told and "list.csv:3" in told


FAULTS = {
    "no path column": ("file,label\na.jpg,x\n", ":1", "path"),
    "column twice": ("path,label,label\na.jpg,x,y\n", ":1", "label"),
    "too many cells": ("path,label\na.jpg,x\nb.jpg,x,y\n", ":3", "3 cells"),
    "too few cells": ("path,label,group\na.jpg,x\n", ":2", "2 cells"),
    "ragged after a long cell": ('path,label\na.jpg,"x\ny"\nb.jpg\n', ":4", "1 cells"),
    "empty path": ("path,label\na.jpg,x\n,y\n", ":3", "empty"),
    "unknown split": ("path,split\na.jpg,index\n", ":2", "train, query, gallery"),
    "nul byte": (b"path,label\na.jpg,\0\n", ":2", "NUL"),
    "not utf-8": (b"path,label\na.jpg,x\nb.jpg,caf\xe9\n", ":3", "UTF-8"),
    "open quote": ('path,label\na.jpg,"x\n', ":2", "not a CSV row"),
    "junk after a quote": ('path,label\na.jpg,"x"y\n', ":2", "not a CSV row"),
    "empty file": ("", ":1", "path"),
    "header only": ("path,label\n", "list.csv", "no rows"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_told_with_file_and_line(tmp_path, name):
    content, line, expected = FAULTS[name]
    told = fault(tmp_path, content)
    assert f"list.csv{line}" in told or line in told
    assert "list.csv" in told and expected in told


@pytest.mark.parametrize("value", [float("nan"), 1.0, True])
def test_labels_that_are_no_names_are_refused_with_their_row(tmp_path, value):
    parquet.write_table(
        pyarrow.table({"path": ["a.jpg", "b.jpg"], "label": [value, value]}), tmp_path / "x.parquet"
    )
    with pytest.raises(DataError, match=r"x\.parquet:row 1: label is"):
        manifest(tmp_path / "x.parquet")


def test_a_parquet_file_that_is_none_is_named(tmp_path):
    with pytest.raises(DataError, match="not a Parquet file"):
        manifest(table(tmp_path, "path\na.jpg\n", "x.parquet"))
    parquet.write_table(pyarrow.table({"file": ["a.jpg"]}), tmp_path / "y.parquet")
    with pytest.raises(DataError, match="no column is called 'path'"):
        manifest(tmp_path / "y.parquet")


def test_without_pyarrow_the_command_that_installs_it_is_told(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UsageError, match="pip install pyarrow"):
        manifest(table(tmp_path, b"", "x.parquet"))


def test_F16_white_space_round_a_label_makes_no_other_class(tmp_path):
    rows = 'path,label,group,split,id\na.jpg,c0,k , query ,"x "\nb.jpg,"c0 ","k",,\n'
    assert [(item.label, item.group, item.split, item.id) for item in read(tmp_path, rows)] == [
        ("c0", "k", "query", "x"),
        ("c0", "k", "train", "b.jpg"),
    ]
    parquet.write_table(
        pyarrow.table({"path": ["a.jpg", "b.jpg"], "label": ["c0", " c0\t"]}),
        tmp_path / "x.parquet",
    )
    assert {item.label for item in manifest(tmp_path / "x.parquet").items} == {"c0"}


def test_F16_a_path_of_windows_is_refused_in_its_row(tmp_path):
    told = fault(tmp_path, "path,label\na.jpg,x\ncats\\1.jpg,x\n")
    assert "list.csv:3" in told and "Windows" in told and "write /" in told
    (tmp_path / "odd\\name.jpg").write_bytes(b"x")
    assert read(tmp_path, "path,label\nodd\\name.jpg,x\n")[0].id == "odd\\name.jpg"


def test_F34_columns_may_have_any_names(tmp_path):
    path = table(tmp_path, "image,cultivar,shot,part,key,note\na.jpg,rose,c1,query,k,old\n")
    columns = {"path": "image", "label": "cultivar", "group": "shot", "split": "part", "id": "key"}
    (item,) = manifest(path, columns=columns).items
    assert (item.path, item.label, item.group, item.split, item.id) == (
        f"{tmp_path}/a.jpg",
        "rose",
        "c1",
        "query",
        "k",
    )
    assert item.meta == {"note": "old"}
    (item,) = manifest(path, columns={"path": "image"}).items
    assert item.label == "" and item.meta["cultivar"] == "rose"


def test_F34_a_column_that_is_not_there_is_told_with_those_that_are(tmp_path):
    path = table(tmp_path, "image,cultivar\na.jpg,rose\n")
    with pytest.raises(DataError, match="found image, cultivar.*columns={'path': 'image'"):
        manifest(path)
    with pytest.raises(DataError, match="no column is called 'class'; found image, cultivar"):
        manifest(path, columns={"path": "image", "label": "class"})


def test_F34_a_column_of_ours_that_does_not_exist_is_refused(tmp_path):
    path = table(tmp_path, "image\na.jpg\n")
    with pytest.raises(UsageError, match="path, label, group, split, id"):
        manifest(path, columns={"file": "image"})
    with pytest.raises(UsageError, match="path, label, group, split, id"):
        manifest(path, columns={"path": 3})


def test_F30_of_a_table_without_splits_a_share_is_held_out(tmp_path):
    rows = [f"{label}/{number}.jpg,{label}" for label in "ab" for number in range(5)]
    path = table(tmp_path, "\n".join(["path,label", *rows, ""]))
    assert spell_data_set(path) == f"manifest({str(path)!r}, query=0.2)"
    found = build(spell_data_set(path), DATASETS).items
    sides = {
        split: {item.id for item in found if item.split == split}
        for split in ("train", "query", "gallery")
    }
    assert sides["train"] == sides["gallery"] and not sides["train"] & sides["query"]
    assert sorted(name[0] for name in sides["query"]) == ["a", "b"]


def test_F30_a_table_with_splits_is_taken_as_it_is(tmp_path):
    path = table(tmp_path, "path,label,split\na.jpg,x,\nb.jpg,x,query\n")
    assert spell_data_set(path) == f"manifest({str(path)!r})"
    with pytest.raises(UsageError, match="no meaning"):
        manifest(path, query=0.2)
    blank = table(tmp_path, "path,label,split\na.jpg,x,\nb.jpg,x,\n", "blank.csv")
    assert spell_data_set(blank).endswith("query=0.2)")


def test_F64_a_list_that_may_not_be_read_is_told_in_one_line(tmp_path, monkeypatch):
    path = tmp_path / "list.csv"
    path.write_text("path,label\n")

    def refuse(path, *rest, **options):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(_table_blocks, "open_location", refuse)
    with pytest.raises(DataError, match="list.csv: cannot be read .Permission denied.$"):
        list(manifest(path).items)


def test_the_line_of_a_row_is_looked_for_once_and_only_when_it_is_wrong(tmp_path, monkeypatch):
    asked, name_row = [], _table_blocks._name_row
    monkeypatch.setattr(
        _table_blocks, "_name_row", lambda *row: asked.append(row) or name_row(*row)
    )
    rows = [f"{number}.jpg,x,{number}" for number in range(80)]
    read(tmp_path, "\n".join(["path,label,lat", *rows]))
    assert asked == []
    text = fault(tmp_path, "\n".join(["path,label,lat", *rows, "a.jpg,x,91"]))
    assert "list.csv:82: lat is '91'" in text and len(asked) == 1


@pytest.mark.parametrize("column", ["path", "label", "id"])
def test_a_zero_byte_in_parquet_is_refused_by_its_row(column, tmp_path):
    columns = {name: [f"{name}{row}" for row in range(3)] for name in ("path", "label", "id")}
    columns[column][1] += "\0"
    parquet.write_table(pyarrow.table(columns), tmp_path / "list.parquet")
    with pytest.raises(DataError, match=f"row 2: {column} .* holds a NUL byte"):
        manifest(tmp_path / "list.parquet")


def test_numbers_of_parquet_stay_numbers(tmp_path):
    columns = {"path": ["a", "b"], "label": ["x", "y"], "price": [1.5, 2.5], "count": [3, 4]}
    parquet.write_table(pyarrow.table(columns), tmp_path / "list.parquet")
    items = manifest(tmp_path / "list.parquet").items
    assert [items.details.meta[name].dtype for name in ("price", "count")] == ["f8", "i8"]
    assert [item.meta for item in items] == [
        {"price": 1.5, "count": 3},
        {"price": 2.5, "count": 4},
    ]


def test_a_table_in_a_folder_named_with_braces_is_that_table(tmp_path):
    for name in ("{set}", "{a,b}", "[1]*"):
        (tmp_path / name).mkdir()
        path = table(tmp_path / name, "path,label\n1.jpg,x\n")
        assert [item.path for item in manifest(path).items] == [str(tmp_path / name / "1.jpg")]
