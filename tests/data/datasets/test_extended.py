"""A reference extended with images from elsewhere."""

import os
import pathlib
import shutil
import tempfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import toy
from fastseek.data.datasets import extended
from fastseek.data.fastreid_datasets import resolve
from fastseek.errors import DataError, UsageError
from fastseek.structures import Item, ItemTable


@pytest.fixture
def sets(tmp_path):
    """A toy gallery of four classes, and a folder with copies of it, new images of them and of a
    fifth class.
    """
    base = toy.gallery(tmp_path / "base", classes=4, train=3, query=1, size=32)
    more = tmp_path / "more"
    for label in range(5):
        folder = more / f"class_{label:02d}"
        folder.mkdir(parents=True)
        toy.photo(label, 900 + label, 32).save(folder / "new.jpg")
        shutil.copyfile(folder / "new.jpg", folder / "new_again.jpg")
    shutil.copyfile(base / "train" / "class_00" / "0000.jpg", more / "class_00" / "copied.jpg")
    return f"folder({str(base)!r})", f"folder({str(more)!r})"


def items_of(call):
    return resolve(call)


def test_new_images_of_known_classes_are_added_and_copies_are_not(sets):
    """landmark row 51: provenance is kept, exact duplicates are removed."""
    base, more = sets
    before, after = items_of(base), items_of(f"extended({base!r}, {more!r})")
    added = after[len(before) :]
    assert [item.id for item in after[: len(before)]] == [item.id for item in before]
    assert [item.id for item in added] == [f"1/class_{label:02d}/new.jpg" for label in range(4)]
    assert {item.meta["source"] for item in added} == {more} and added[0].split == "train"
    assert {item.meta["source"] for item in after[: len(before)]} == {base}


def test_unknown_classes_may_be_wanted_too(sets):
    base, more = sets
    labels = {item.label for item in items_of(f"extended({base!r}, {more!r}, known_only=False)")}
    assert "class_04" in labels


def test_files_of_one_length_are_copies_only_when_all_bytes_agree(sets, tmp_path):
    """landmark row 51."""
    base, more = sets
    path = tmp_path / "more" / "class_01" / "new.jpg"
    changed = bytearray(path.read_bytes())
    changed[-3] ^= 1
    (tmp_path / "more" / "class_01" / "other.jpg").write_bytes(bytes(changed))
    added = [
        item.id for item in items_of(f"extended({base!r}, {more!r})") if item.id.startswith("1/")
    ]
    assert "1/class_01/other.jpg" in added and "1/class_01/new_again.jpg" not in added


def test_a_set_that_adds_nothing_and_a_single_set_are_refused(sets):
    base, _ = sets
    with pytest.raises(DataError, match="none of"):
        items_of(f"extended({base!r}, {base!r})")
    with pytest.raises(UsageError, match="got 1 call"):
        items_of(f"extended({base!r})")


def test_F25_every_file_is_read_once_at_most(tmp_path, monkeypatch):
    """Files of one length, as .bmp have it: 40 + 40 of them were hashed some 2,500 times."""
    calls, read = [], []
    for folder in ("base", "more"):
        (tmp_path / folder / "x").mkdir(parents=True)
        for number in range(40):
            content = f"{folder if number % 2 else 'both'} {number:06d}".ljust(64).encode()
            (tmp_path / folder / "x" / f"{number}.bmp").write_bytes(content)
        calls.append(f"folder({str(tmp_path / folder)!r})")
    (tmp_path / "more" / "x" / "alone.bmp").write_bytes(b"another length")
    real = extended._digest
    monkeypatch.setattr(extended, "_digest", lambda path: read.append(path) or real(path))
    items = items_of(f"extended({calls[0]!r}, {calls[1]!r})")
    added = {item.id for item in items if item.id.startswith("1/")}
    assert added == {"1/x/alone.bmp", *(f"1/x/{number}.bmp" for number in range(1, 40, 2))}
    assert len(read) == len(set(read)) == 80


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_F25_what_is_new_is_what_no_file_before_it_equals(data):
    """The slow twin compares each file with every one before."""
    contents = st.lists(st.sampled_from([b"a", b"b", b"cc", b"dd", None]), max_size=6)
    sides = [data.draw(contents), data.draw(contents)]
    with tempfile.TemporaryDirectory() as home:
        items = [
            [Item(os.path.join(home, f"{side}{row}")) for row in range(len(contents))]
            for side, contents in enumerate(sides)
        ]
        for side, contents in zip(items, sides, strict=True):
            for item, content in zip(side, contents, strict=True):
                if content is not None:
                    pathlib.Path(item.path).write_bytes(content)
        paths = [[item.path for item in side] for side in items]
        found = [items[1][row] for row in extended._find_new(*paths).tolist()]
    before, expected = list(sides[0]), []
    for item, content in zip(items[1], sides[1], strict=True):
        if content is None or content not in before:
            expected.append(item)
        before.append(content)
    assert found == expected


def test_F25_what_is_extended_stays_a_table(sets):
    base, more = sets
    found = items_of(f"extended({base!r}, {more!r})")
    assert isinstance(found, ItemTable) and list(found.labels) == sorted(found.labels)
    assert all(os.path.isfile(item.path) for item in found)
