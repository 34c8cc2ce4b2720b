"""A reference extended with images from elsewhere."""

import shutil

import pytest

import toy
from fastseek.data.fastreid_datasets import resolve
from fastseek.errors import DataError, UsageError


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
