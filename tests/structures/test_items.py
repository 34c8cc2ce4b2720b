"""Items are what a list of Item is, in a fraction of the memory, and processes share them."""

import multiprocessing
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastseek.data.label_index import TrainSet, columns
from fastseek.errors import ArtefactError, DataError
from fastseek.structures import Item, ItemTable, Kind, paths_of, with_split


def layout(name):
    return f"{name[0]}/{name}.jpg"


OF = [
    Kind("train", "/photos/train", layout),
    Kind("query", "/photos/test", layout),
    Kind("gallery", "/photos/train", layout),
]


def slow(items):
    """The same photos as a list, written out."""
    rows = zip(items.ids.tolist(), items.codes, items.kinds, strict=True)
    return [
        Item(
            f"{OF[kind].root}/{layout(name.decode())}",
            items.labels[code] if code >= 0 else "",
            "",
            OF[kind].split,
            name.decode(),
        )
        for name, code, kind in rows
    ]


@st.composite
def drawn(draw):
    kinds = draw(st.lists(st.integers(0, 2), max_size=20))
    codes = draw(st.lists(st.integers(-1, 3), min_size=len(kinds), max_size=len(kinds)))
    ids = np.asarray([f"{row:04d}" for row in range(len(kinds))], "S4")
    return ItemTable(
        ids,
        np.asarray(codes, np.int32),
        np.asarray(kinds, np.uint8),
        ["2", "9", "10", "x"],
        OF,
    )


@given(
    items=drawn(),
    start=st.integers(-25, 25),
    stop=st.integers(-25, 25),
    step=st.sampled_from([1, 2, -1]),
)
@settings(max_examples=60, deadline=None)
def test_items_are_the_list_of_their_items(items, start, stop, step):
    listed = slow(items)
    assert list(items) == listed and len(items) == len(listed)
    assert list(items[start:stop:step]) == listed[start:stop:step]
    assert [items[row] for row in range(-len(items), len(items))] == listed + listed
    assert list(items.paths) == [item.path for item in listed] == list(paths_of(items))
    for split in ("train", "query", "gallery"):
        assert list(with_split(items, split)) == with_split(listed, split)
    assert list(items + items[:3]) == listed + listed[:3] == list(items + listed[:3])
    with pytest.raises(IndexError):
        items[len(items)]


def made(count=6):
    return ItemTable(
        np.asarray([f"{row:04d}" for row in range(count)], "S4"),
        np.arange(count, dtype=np.int32) % 3,
        np.zeros(count, np.uint8),
        ["2", "9", "10"],
        OF,
    )


def test_what_was_saved_is_mapped_and_sent_by_name(tmp_path):
    items = made(1000)
    items.save(tmp_path, counts={"n": 1})
    kept = ItemTable.load(tmp_path, layout)
    assert list(kept) == list(items) and isinstance(kept.ids, np.memmap)
    part = kept[100:900].with_split("train")
    sent = pickle.dumps(part.paths)
    assert len(sent) < 1500 < len(pickle.dumps(items.paths))
    again = pickle.loads(sent)
    assert list(again) == list(items[100:900].paths) and isinstance(again[:5]._items.ids, np.memmap)


def _first_and_last(paths, out):
    out.put((paths[0], paths[-1], len(paths)))


def test_a_spawned_process_reads_the_same_files(tmp_path):
    made(50).save(tmp_path)
    paths = ItemTable.load(tmp_path, layout)[10:30].paths
    context = multiprocessing.get_context("spawn")
    out = context.Queue()
    child = context.Process(target=_first_and_last, args=(paths, out))
    child.start()
    assert out.get(timeout=1800) == ("/photos/train/0/0010.jpg", "/photos/train/0/0029.jpg", 20)
    child.join()


def test_what_is_not_whole_is_refused(tmp_path):
    made().save(tmp_path)
    (tmp_path / "codes.npy").write_bytes((tmp_path / "codes.npy").read_bytes()[:-4])
    with pytest.raises(ArtefactError, match="delete it"):
        ItemTable.load(tmp_path, layout)
    with pytest.raises(DataError):
        ItemTable.load(tmp_path / "none", layout)
    with pytest.raises(ValueError, match="as many"):
        ItemTable(np.zeros(2, "S1"), np.zeros(1, np.int32), np.zeros(2, np.uint8), [], OF)


def test_classes_keep_the_order_of_their_numbers():
    """landmark row 4."""
    items = made()
    train = TrainSet(items)
    assert train.classes == ["2", "9", "10"] and train.labels.tolist() == [0, 1, 2, 0, 1, 2]
    assert TrainSet(list(items)).classes == ["10", "2", "9"]
    assert train.items is items and train.counts.tolist() == [2, 2, 2] and train.num_cameras == 1
    some = ItemTable(
        items.ids, np.asarray([2, 0, 2, 2, 0, 2], np.int32), items.kinds, items.labels, OF
    )
    assert columns(some)[0][0] == ["2", "10"] and columns(some)[0][1].tolist() == [1, 0, 1, 1, 0, 1]


def test_a_training_photo_without_a_label_is_named():
    items = made()
    items.codes[4] = -1
    with pytest.raises(DataError, match="/photos/train/0/0004.jpg has no label, nor have 0 others"):
        TrainSet(items)
    with pytest.raises(DataError, match="no training images"):
        TrainSet(items[:0])


def test_all_photos_can_be_trained_on():
    items = ItemTable(
        np.asarray(["aaa", "bbb", "aaa", "ccc"], "S3"),
        np.asarray([0, 1, 0, 1], np.int32),
        np.asarray([0, 1, 2, 2], np.uint8),
        ["5", "7"],
        OF,
    )
    combined = items.all_trained_on()
    assert list(combined)[:4] == list(items)
    assert [(item.path, item.label) for item in with_split(combined, "train")] == [
        ("/photos/train/a/aaa.jpg", "5"),
        ("/photos/test/b/bbb.jpg", "7"),
        ("/photos/train/c/ccc.jpg", "7"),
    ]
