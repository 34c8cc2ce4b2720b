"""Laws of folders of class folders."""

import collections
import os

import pytest

import toy
from fastseek.data import datasets  # noqa: F401
from fastseek.errors import DataError, UsageError
from fastseek.registry import DATASETS, build


def folder(root, **options):
    arguments = "".join(f", {key}={value!r}" for key, value in options.items())
    return build(f"folder({str(root)!r}{arguments})", DATASETS)


def put(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        toy.photo(1, 1, 16).save(root / name, "PNG" if name.lower().endswith("png") else "JPEG")
    return root


def rows(data):
    return {(item.split, item.label, item.id) for item in data.items}


def test_split_folders_are_the_splits(tmp_path):
    data = folder(toy.gallery(tmp_path, classes=2, train=3, query=1))
    assert collections.Counter(item.split for item in data.items) == {
        "train": 6,
        "query": 2,
        "gallery": 6,
    }
    for item in data.items:
        assert item.id == f"{item.split}/{item.label}/{os.path.basename(item.path)}"
        assert os.path.join(data.root, item.id) == item.path and os.path.isfile(item.path)


def test_a_flat_folder_is_trained_on_and_searched_in(tmp_path):
    put(tmp_path, "cat/1.jpg", "dog/2.png")
    assert rows(folder(tmp_path)) == {
        (split, *rest)
        for split in ("train", "gallery")
        for rest in (("cat", "cat/1.jpg"), ("dog", "dog/2.png"))
    }


def test_test_images_without_queries_ask_the_train_images(tmp_path):
    put(tmp_path, "train/a/1.jpg", "test/a/2.jpg")
    assert rows(folder(tmp_path)) == {
        ("train", "a", "train/a/1.jpg"),
        ("gallery", "a", "train/a/1.jpg"),
        ("query", "a", "test/a/2.jpg"),
    }


def test_test_is_the_gallery_when_there_are_queries(tmp_path):
    put(tmp_path, "train/a/1.jpg", "test/a/2.jpg", "query/a/3.jpg")
    assert {(item.split, item.id) for item in folder(tmp_path).items} == {
        ("train", "train/a/1.jpg"),
        ("gallery", "test/a/2.jpg"),
        ("query", "query/a/3.jpg"),
    }


def test_a_class_may_be_called_train(tmp_path):
    put(tmp_path, "train/1.jpg", "plane/1.jpg")
    assert {item.label for item in folder(tmp_path).items} == {"train", "plane"}


def test_folders_beside_the_splits_are_passed_over(tmp_path):
    put(
        tmp_path,
        "train/a/1.jpg",
        "query/a/2.jpg",
        "gallery/a/3.jpg",
        "drafts/a/4.jpg",
        "val/a/5.jpg",
    )
    assert {item.label for item in folder(tmp_path).items} == {"a"} and len(
        folder(tmp_path).items
    ) == 3


def test_queries_may_come_from_another_folder(tmp_path):
    put(tmp_path / "shop", "a/1.jpg", "b/1.jpg")
    put(tmp_path / "phone", "a/9.jpg")
    queries = [
        item
        for item in folder(tmp_path / "shop", query=str(tmp_path / "phone")).items
        if item.split == "query"
    ]
    assert [(item.id, item.label) for item in queries] == [("a/9.jpg", "a")] and os.path.isfile(
        queries[0].path
    )


@pytest.mark.parametrize("share", [0.1, 0.3, 0.9])
def test_held_out_queries_are_never_trained_on_and_leave_every_class_one(tmp_path, share):
    put(
        tmp_path,
        *(
            f"{label}/{number}.jpg"
            for label, count in (("a", 1), ("b", 2), ("c", 10))
            for number in range(count)
        ),
    )
    by_split = collections.defaultdict(set)
    for item in folder(tmp_path, query=share).items:
        by_split[item.split].add(item.id)
    assert by_split["train"] == by_split["gallery"]
    assert (
        not by_split["train"] & by_split["query"]
        and len(by_split["train"] | by_split["query"]) == 13
    )
    held = collections.Counter(name[0] for name in by_split["query"])
    assert held == {"b": 1, "c": min(9, round(10 * share))}


def test_what_is_no_image_is_passed_over(tmp_path):
    put(tmp_path, "a/1.JPG", "a/deep/2.jpeg")
    for name in ("a/notes.txt", "a/._1.jpg", ".hidden/3.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    assert {(item.label, item.id) for item in folder(tmp_path).items} == {
        ("a", "a/1.JPG"),
        ("a/deep", "a/deep/2.jpeg"),
    }


def test_images_in_no_class_folder_have_no_label(tmp_path):
    assert {item.label for item in folder(put(tmp_path, "1.jpg")).items} == {""}


def test_odd_names_survive(tmp_path):
    names = [
        "Straße/ü.jpg",
        "a b/c%20d.jpg",
        "new\nline/x.jpg",
        os.fsdecode(b"raw/\xff.jpg"),
        "l/" + "a" * 250 + ".jpg",
    ]
    put(tmp_path, *names)
    assert {item.id for item in folder(tmp_path).items} == set(names)


@pytest.mark.timeout(30)
def test_links_to_folders_are_followed_but_never_in_circles(tmp_path):
    put(tmp_path / "real", "1.jpg")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "back").symlink_to(tmp_path / "data")
    assert {item.id for item in folder(tmp_path / "data").items} == {"a/1.jpg"}


def test_the_order_is_the_same_every_time(tmp_path):
    put(tmp_path, "b/2.jpg", "a/3.jpg", "b/1.jpg")
    assert [item.id for item in folder(tmp_path).items if item.split == "train"] == [
        "a/3.jpg",
        "b/1.jpg",
        "b/2.jpg",
    ]


def test_nothing_to_read_is_an_error_that_names_the_folder(tmp_path):
    with pytest.raises(DataError, match="no image found"):
        folder(tmp_path)
    with pytest.raises(DataError, match="nowhere not found"):
        folder("nowhere")
    (tmp_path / "list.csv").write_text("path\n")
    with pytest.raises(DataError, match=r"manifest\("):
        folder(tmp_path / "list.csv")


@pytest.mark.parametrize("share", [0, 1, -0.5, 7])
def test_an_impossible_share_is_refused(tmp_path, share):
    with pytest.raises(UsageError, match="between 0 and 1"):
        folder(put(tmp_path, "a/1.jpg"), query=share)


def test_query_beside_split_folders_is_refused(tmp_path):
    with pytest.raises(UsageError, match="no meaning"):
        folder(put(tmp_path, "train/a/1.jpg", "query/a/1.jpg"), query=0.5)
