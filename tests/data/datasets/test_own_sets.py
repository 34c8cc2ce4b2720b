"""Laws of the data sets that have a name: Grocery and Landmarks."""

import collections
import logging
import os

import pytest

from fastseek.data import datasets  # noqa: F401
from fastseek.errors import DataError, UsageError
from fastseek.io.paths import data_roots
from fastseek.registry import DATASETS, build

CLASSES = """Class Name (str),Class ID (int),Coarse Class Name (str),Coarse Class ID (int)
Golden,0,Apple,0
Pink,1,Apple,0
Kiwi,2,Kiwi,1
"""


@pytest.fixture
def grocery(tmp_path, monkeypatch):
    home = tmp_path / "grocery" / "dataset"
    home.mkdir(parents=True)
    (home / "classes.csv").write_text(CLASSES)
    (home / "train.txt").write_text("train/a.jpg, 0, 0\ntrain/b.jpg, 1, 0\ntrain/c.jpg, 2, 1\n")
    (home / "test.txt").write_text("test/a.jpg, 2, 1\n")
    monkeypatch.setenv("FASTREID_DATASETS", str(tmp_path))
    return home


def test_grocery_searches_its_training_images_with_its_test_images(grocery):
    items = build("grocery()", DATASETS).items
    assert [(item.split, item.label, item.id) for item in items] == [
        ("train", "Golden", "train/a.jpg"),
        ("train", "Pink", "train/b.jpg"),
        ("train", "Kiwi", "train/c.jpg"),
        ("query", "Kiwi", "test/a.jpg"),
        ("gallery", "Golden", "train/a.jpg"),
        ("gallery", "Pink", "train/b.jpg"),
        ("gallery", "Kiwi", "train/c.jpg"),
    ]
    assert all(item.path == str(grocery / item.id) for item in items)


def test_grocery_has_coarse_labels_too(grocery):
    labels = [item.label for item in build("grocery(fine=False)", DATASETS).items]
    assert labels[:4] == ["Apple", "Apple", "Kiwi", "Kiwi"]


@pytest.mark.parametrize("line", ["train/a.jpg, 0", "train/a.jpg, 9, 0", "train/a.jpg"])
def test_a_damaged_grocery_list_is_told_with_its_line(grocery, line):
    (grocery / "train.txt").write_text("train/a.jpg, 0, 0\n" + line + "\n")
    with pytest.raises(DataError, match=r"train\.txt:2: expected"):
        build("grocery()", DATASETS)


@pytest.mark.parametrize("name", ["grocery", "landmarks"])
def test_data_that_is_not_there_is_told_with_where_to_put_it(tmp_path, monkeypatch, name):
    monkeypatch.setenv("FASTREID_DATASETS", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(DataError, match="FASTREID_DATASETS"):
        build(f"{name}()", DATASETS)


def test_landmarks_searches_everything_that_is_no_query(tmp_path, monkeypatch):
    (tmp_path / "landmarks").mkdir()
    (tmp_path / "landmarks" / "labels.csv").write_text(
        "id,path,landmark,split,view_cluster\n1,i/1.jpg,bridge,train,7\n2,i/2.jpg,bridge,query,8\n"
        "3,i/3.jpg,bridge,index,9\n4,i/4.jpg,distractor,distractor,10\n"
    )
    monkeypatch.setenv("FASTREID_DATASETS", str(tmp_path))
    items = build("landmarks()", DATASETS).items
    assert [(item.split, item.id, item.group) for item in items] == [
        ("train", "i/1.jpg", "7"),
        ("query", "i/2.jpg", "8"),
        ("gallery", "i/1.jpg", "7"),
        ("gallery", "i/3.jpg", "9"),
        ("gallery", "i/4.jpg", "10"),
    ]
    (tmp_path / "landmarks" / "labels.csv").write_text(
        "id,path,landmark,split,view_cluster\n1,i/1.jpg\n"
    )
    with pytest.raises(DataError, match=r"labels\.csv:2"):
        build("landmarks()", DATASETS)


def test_the_tasks_of_landmarks_share_out_what_is_no_landmark(tmp_path, monkeypatch):
    (tmp_path / "landmarks").mkdir()
    rows = [
        "id,path,landmark,split,view_cluster",
        "1,i/1.jpg,bridge,train,1",
        "2,i/2.jpg,bridge,query,2",
        "3,i/3.jpg,bridge,index,3",
        *(f"{n},i/{n}.jpg,distractor,distractor,{n}" for n in range(4, 9)),
    ]
    (tmp_path / "landmarks" / "labels.csv").write_text("\n".join(rows) + "\n")
    monkeypatch.setenv("FASTREID_DATASETS", str(tmp_path))
    told = {
        task: {
            split: [
                (item.id, item.label)
                for item in build(f"landmarks({task!r})", DATASETS).items
                if item.split == split
            ]
            for split in ("train", "query", "gallery")
        }
        for task in ("retrieval", "index", "recognition")
    }
    bridge, nothing = (
        [(f"i/{n}.jpg", "bridge") for n in (1, 2, 3)],
        [(f"i/{n}.jpg", "") for n in range(4, 9)],
    )
    assert all(found["train"] == bridge[:1] for found in told.values())
    assert (
        told["retrieval"]["gallery"] == [bridge[0], *told["index"]["gallery"]]
        and len(told["index"]["gallery"]) == 6
    )
    assert told["recognition"]["query"] == [bridge[1], *nothing[::2]]
    assert told["recognition"]["gallery"] == nothing[1::2]
    with pytest.raises(UsageError, match="recognition"):
        build("landmarks('search')", DATASETS)


@pytest.mark.skipif(
    not any((root / "grocery" / "dataset").exists() for root in data_roots()),
    reason="no Grocery here",
)
def test_the_real_grocery_set_is_whole():
    items = build("grocery()", DATASETS).items
    assert collections.Counter(item.split for item in items) == {
        "train": 2094,
        "query": 1001,
        "gallery": 2094,
    }
    assert len({item.label for item in items}) == 63 and all(
        os.path.isfile(item.path) for item in items
    )


def test_F19_data_sets_with_a_name_lie_below_a_root_whatever_the_working_folder_holds(
    grocery, tmp_path, monkeypatch, caplog
):
    other = tmp_path / "here" / "grocery" / "dataset"
    other.mkdir(parents=True)
    (other / "classes.csv").write_text("nothing of it\n")
    monkeypatch.chdir(tmp_path / "here")
    with caplog.at_level(logging.INFO):
        assert build("grocery()", DATASETS).items[0].path == str(grocery / "train/a.jpg")
    assert f"lies below {tmp_path}" in caplog.text
