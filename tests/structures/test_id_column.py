"""A column of ids answers like the list of strings it was made of, in memory and from its file."""

import hashlib
import os
import pickle

import hypothesis.strategies as some
import numpy as np
import pytest
from hypothesis import example, given, settings

from fastseek.errors import ArtefactError, DataError
from fastseek.structures import id_column
from fastseek.structures.id_column import IdColumn, digest_ids

ODD = os.fsdecode(b"x\xff.jpg")  # a file name that is no UTF-8
NAMES = ["a/1.jpg", "", "é", "日本/図.png", "😀", ODD, "zero\0inside", "a/1.jpg", "x" * 300]
# Any text at all, halves of pairs too; numpy's strings lose zero bytes at their end.
TEXTS = some.text(some.characters(), max_size=12).filter(lambda name: not name.endswith("\0"))
LISTS = some.lists(TEXTS, max_size=40)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(id_column, "ROWS", 7)


def slow_digest(names):
    letters = [name.encode("utf-8", "surrogatepass") for name in names]
    lengths = b"".join(len(one).to_bytes(8, "little") for one in letters)
    parts = hashlib.sha256(b"".join(letters)).digest() + hashlib.sha256(lengths).digest()
    return hashlib.sha256(parts).hexdigest()


def slow_find(known, wanted):
    return [known.index(name) if name in known else -1 for name in wanted]


@given(LISTS, some.data())
@settings(max_examples=70, deadline=None)
@example(NAMES, None)
def test_a_column_answers_like_its_list(names, data):
    column = IdColumn.from_strings(names)
    array = np.asarray(names, str)
    assert (len(column), column.tolist(), list(column)) == (len(names), names, names)
    np.testing.assert_array_equal(np.asarray(column), array)
    assert [column[row] for row in range(-len(names), len(names))] == [*names, *names]
    assert IdColumn.from_strings(array).tolist() == names
    assert IdColumn.from_strings(name for name in names).tolist() == names
    assert column.digest == digest_ids(array) == digest_ids(names) == slow_digest(names)
    assert np.concatenate([*column.blocks(3), []]).tolist() == names
    if data is None:
        return
    cut = data.draw(some.slices(len(names)))
    np.testing.assert_array_equal(column[cut], array[cut])
    rows = data.draw(some.lists(some.integers(-len(names), len(names) - 1))) if names else []
    np.testing.assert_array_equal(column[np.array(rows, int)], array[np.array(rows, int)])
    mask = np.array(
        data.draw(some.lists(some.booleans(), min_size=len(names), max_size=len(names)))
    )
    np.testing.assert_array_equal(column[mask.astype(bool)], array[mask.astype(bool)])


@given(LISTS, LISTS)
@settings(max_examples=70, deadline=None)
@example(NAMES, ["nowhere", *NAMES])
def test_names_are_found_where_the_list_has_them_first(names, others):
    column, wanted = IdColumn.from_strings(names), [*others, *names[::2], "x", ""]
    assert column.find(wanted).tolist() == slow_find(names, wanted)
    assert column.find(np.asarray(wanted, str)).tolist() == slow_find(names, wanted)
    assert all((name in column) == (name in names) for name in wanted)
    assert column.order().tolist() == sorted(range(len(names)), key=names.__getitem__)
    repeated = column.find_repeated()
    most = max((names.count(name) for name in names), default=0)
    assert (repeated is None) == (most < 2)
    assert repeated is None or (names.count(repeated[0]), repeated[1]) == (most, most)


def test_names_of_one_hash_are_told_apart_by_their_letters(monkeypatch):
    monkeypatch.setattr(
        id_column, "hash_letters", lambda letters, lengths: (lengths % 2).astype(np.uint64)
    )
    names = [f"{number}" for number in range(120)]
    column, wanted = IdColumn.from_strings(names), [*reversed(names), "no", "none"]
    assert column.find(wanted).tolist() == slow_find(names, wanted)
    assert column.find_repeated() is None
    assert IdColumn.from_strings([*names, "7"]).find_repeated() == ("7", 2)


@given(LISTS, LISTS, some.integers(0, 40), some.integers(0, 40))
@settings(max_examples=40, deadline=None)
def test_parts_and_sums_of_columns_are_those_of_lists(names, others, start, stop):
    column = IdColumn.from_strings(names)
    part = column.part(start, stop)
    assert part.tolist() == names[start:stop] and part.digest == slow_digest(names[start:stop])
    assert part.find(names).tolist() == slow_find(names[start:stop], names)
    both = IdColumn.concatenate([part, IdColumn.from_strings(others), column])
    assert both.tolist() == [*names[start:stop], *others, *names]
    rows = np.arange(len(both))[::-2]
    assert both.take(rows).tolist() == both.tolist()[::-2]


@given(LISTS)
@settings(max_examples=30, deadline=None)
@example(NAMES)
def test_what_is_saved_is_loaded(tmp_path_factory, names):
    path = tmp_path_factory.mktemp("ids") / "ids.safetensors"
    IdColumn.from_strings(["before", *names]).part(1, len(names) + 1).save(path)
    loaded = IdColumn.load(path)
    loaded.verify()
    assert loaded.tolist() == names and loaded.digest == slow_digest(names)
    assert loaded.find(names).tolist() == slow_find(names, names)
    again = pickle.loads(pickle.dumps((loaded, loaded.part(1, 5), IdColumn.from_strings(names))))
    assert [column.tolist() for column in again] == [names, names[1:5], names]


def test_that_no_id_stands_twice_is_found_once_and_told_by_the_file(tmp_path, monkeypatch):
    column = IdColumn.from_strings(["a", "b", "c"])
    column.check_unique("gallery")
    column.save(tmp_path / "ids")
    monkeypatch.setattr(IdColumn, "find_repeated", lambda column: pytest.fail("looked again"))
    for known in (
        column,
        IdColumn.load(tmp_path / "ids"),
        IdColumn.load(tmp_path / "ids").part(1, 3),
    ):
        known.check_unique("gallery")
    monkeypatch.undo()
    with pytest.raises(DataError, match="gallery: id 'a' stands 2 times"):
        IdColumn.from_strings(["a", "b", "a"]).check_unique("gallery")


def test_a_whole_file_is_told_by_its_name_and_a_part_is_not(tmp_path):
    IdColumn.from_strings(["a", "b", "c"]).save(tmp_path / "ids")
    loaded = IdColumn.load(tmp_path / "ids")
    assert loaded.file == loaded.part(0, 3).file == str(tmp_path / "ids")
    assert loaded.part(0, 2).file == IdColumn.from_strings(["a"]).file == ""


def test_a_column_of_a_file_goes_to_another_process_as_the_name_of_the_file(tmp_path):
    IdColumn.from_strings(f"image {number}" for number in range(5000)).save(tmp_path / "ids")
    loaded = IdColumn.load(tmp_path / "ids")
    assert len(pickle.dumps(loaded)) < 1000 and len(pickle.dumps(loaded.part(3, 4000))) < 1000


def test_the_file_is_one_that_the_library_of_its_format_reads(tmp_path):
    from safetensors.numpy import load_file

    IdColumn.from_strings(NAMES).save(tmp_path / "ids.safetensors")
    held = load_file(tmp_path / "ids.safetensors")
    letters = b"".join(name.encode("utf-8", "surrogatepass") for name in NAMES)
    assert held["letters"].tobytes() == letters
    assert held["offsets"][-1] == len(letters) and len(held["offsets"]) == len(NAMES) + 1


def test_any_cut_and_any_flipped_bit_of_a_file_is_refused(tmp_path):
    names = [f"{number}/é.jpg" for number in range(20)]
    path = tmp_path / "ids.safetensors"
    IdColumn.from_strings(names).save(path)
    whole = path.read_bytes()

    def read():
        loaded = IdColumn.load(path)
        # Whatever is asked for before the check ends in an answer or in the same error.
        for ask in (loaded.tolist, lambda: loaded.find(names), lambda: loaded[np.arange(20)]):
            try:
                ask()
            except ArtefactError:
                pass
        loaded.verify()

    for length in range(0, len(whole), 5):
        path.write_bytes(whole[:length])
        with pytest.raises(ArtefactError, match=r"ids\.safetensors"):
            IdColumn.load(path)
    # Zeros in the file, and what fills up the header, tell nothing.
    header = int.from_bytes(whole[:8], "little")
    filling = whole[8 : 8 + header].rstrip(b" ")
    for place in [*range(8 + len(filling)), *range(8 + header, len(whole))]:
        for bit in (0, 6):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << bit]) + whole[place + 1 :])
            with pytest.raises(ArtefactError, match=r"ids\.safetensors"):
                read()
    path.write_bytes(whole + b"more")
    with pytest.raises(ArtefactError):
        IdColumn.load(path)


def test_what_is_no_file_of_ids_is_told_by_its_name(tmp_path):
    np.save(tmp_path / "array.npy", np.arange(9))
    with pytest.raises(ArtefactError, match=r"array\.npy"):
        IdColumn.load(tmp_path / "array.npy")
    with pytest.raises(DataError, match="no such file"):
        IdColumn.load(tmp_path / "none")


@pytest.mark.parametrize("ids", ["abc", ["a", "b\0"], [["a"]], np.array([["a"]]), [b"\xff"]])
def test_what_are_no_ids_is_refused(ids):
    with pytest.raises(DataError):
        IdColumn.from_strings(ids)
    with pytest.raises(DataError):
        digest_ids(ids)


@pytest.mark.parametrize("row", [3, -4, np.array([0, 3]), np.array([-4])])
def test_a_row_that_is_not_there_is_an_index_error(row):
    with pytest.raises(IndexError):
        IdColumn.from_strings(["a", "b", "c"])[row]
