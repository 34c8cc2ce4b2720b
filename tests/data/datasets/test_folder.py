"""Laws of folders of class folders."""

import collections
import logging
import os
import re

import pytest

import toy
from fastseek.data.datasets import _official_layouts
from fastseek.data.datasets.folder import label_by_folder, list_images
from fastseek.data.images import decode
from fastseek.data.own_images import spell_data_set
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


@pytest.mark.parametrize("end", ["/", "//", "/."])
def test_a_slash_at_the_end_of_a_folder_changes_nothing(end, tmp_path):
    root = put(tmp_path, "a/1.jpg", "b/c/2.jpg")
    found = [(item.id, item.label) for item in list_images(f"{root}{end}")]
    assert found == [("a/1.jpg", "a"), ("b/c/2.jpg", "b/c")]


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


def test_hidden_folders_and_images_are_counted_and_those_of_programs_are_not(tmp_path, caplog):
    put(
        tmp_path, "a/1.jpg", "a/._1.jpg", ".best/2.jpg", "a/.old/3.jpg", "a/.DS_Store", ".git/4.jpg"
    )
    assert [item.id for item in list_images(str(tmp_path))] == ["a/1.jpg"]
    told = [one.getMessage() for one in caplog.records if "hidden" in one.getMessage()]
    assert told == [
        f"{tmp_path}: 3 hidden folders and images passed over: .best, a/._1.jpg, a/.old"
    ]


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


MARKET = [
    "bounding_box_train/0002_c1s1_000451_03.jpg",
    "bounding_box_train/0007_c3s3_077419_03.jpg",
    "query/0010_c6s3_077467_00.jpg",
    "bounding_box_test/0010_c2s1_000076_01.jpg",
    "bounding_box_test/0000_c2s1_000801_01.jpg",
    "bounding_box_test/-1_c1s1_000401_03.jpg",
]


def test_F07_market_is_read_by_its_file_names_and_never_as_class_folders(tmp_path, caplog):
    put(tmp_path, *MARKET)
    with caplog.at_level(logging.INFO):
        found = folder(tmp_path).items
    assert [(item.split, item.label, item.group) for item in found] == [
        ("train", "2", "1"),
        ("train", "7", "3"),
        ("query", "10", "6"),
        ("gallery", "0", "2"),
        ("gallery", "10", "2"),
    ]
    assert "1 junk images" in caplog.text
    assert {item.id for item in found} == set(MARKET[:5])
    with pytest.raises(UsageError, match="no meaning"):
        folder(tmp_path, query=0.2)


@pytest.mark.parametrize("known", _official_layouts.REFUSED)
def test_F07_other_benchmarks_are_refused_by_name_with_what_to_do(tmp_path, known):
    for sign in known.signs:
        put(tmp_path / "home", f"{sign}/a/1.jpg")
    with pytest.raises(DataError, match=re.escape(f"is {known.name}")) as caught:
        folder(tmp_path / "home")
    assert known.advice in str(caught.value)
    with pytest.raises(DataError, match=f"{tmp_path}/home is {known.name}"):
        folder(tmp_path)


def test_F08_jfif_and_jpe_are_jpeg_and_an_image_under_them_is_read(tmp_path):
    put(tmp_path, "a/1.jfif", "a/2.JPE", "b/3.jfi")
    found = folder(tmp_path).items
    assert {item.id for item in found} == {"a/1.jfif", "a/2.JPE", "b/3.jfi"}
    assert all(decode(item.path).mode == "RGB" for item in found)


def test_F08_what_is_passed_over_is_named_and_counted(tmp_path, caplog):
    put(tmp_path, "a/1.jpg", "b/2.jpg")
    for name in ("a/x.heic", "a/y.HEIC", "b/z.tif", "b/noname", "b/list.txt"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "empty" / "deep").mkdir(parents=True)
    (tmp_path / "b" / "hollow").mkdir()
    with caplog.at_level(logging.INFO):
        folder(tmp_path)
    assert "4 files are passed over (2 .heic, 1 without suffix, 1 .tif), such as a/x.heic" in (
        caplog.text
    )
    assert "2 folders hold no image and make no class: b/hollow, empty" in caplog.text
    assert "1 files are no images (1 .txt)" in caplog.text


def test_F08_the_images_that_are_embedded_are_looked_through_in_the_same_way(tmp_path, caplog):
    put(tmp_path, "1.jpg")
    (tmp_path / "2.avif").write_bytes(b"x")
    assert len(list_images(str(tmp_path))) == 1 and "1 .avif" in caplog.text


def test_F16_white_space_round_a_folder_makes_no_other_class(tmp_path):
    put(tmp_path, "c0/1.jpg", "c0 /2.jpg")
    assert {item.label for item in folder(tmp_path).items} == {"c0"}


def test_F30_with_train_and_val_the_val_images_ask_the_train_images(tmp_path):
    put(tmp_path, "train/a/1.jpg", "val/a/2.jpg")
    assert rows(folder(tmp_path)) == {
        ("train", "a", "train/a/1.jpg"),
        ("gallery", "a", "train/a/1.jpg"),
        ("query", "a", "val/a/2.jpg"),
    }


def test_F30_query_and_gallery_alone_train_on_the_gallery(tmp_path, caplog):
    put(tmp_path, "query/a/1.jpg", "gallery/a/2.jpg")
    with caplog.at_level(logging.INFO):
        assert rows(folder(tmp_path)) == {
            ("query", "a", "query/a/1.jpg"),
            ("gallery", "a", "gallery/a/2.jpg"),
            ("train", "a", "gallery/a/2.jpg"),
        }
    assert "the gallery is trained on" in caplog.text


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["train/a/1.jpg", "val/a/2.jpg"], ""),
        (["query/a/1.jpg", "gallery/a/2.jpg"], ""),
        (MARKET, ""),
        (["a/1.jpg", "b/2.jpg"], ", query=0.2"),
    ],
)
def test_F30_queries_are_held_out_only_where_nobody_says_which_they_are(tmp_path, names, expected):
    put(tmp_path, *names)
    part = "market" if names is MARKET else "folder"
    assert spell_data_set(tmp_path) == f"{part}({str(tmp_path)!r}{expected})"
    assert build(spell_data_set(tmp_path), DATASETS).items


@pytest.mark.parametrize(
    "names",
    [
        ("a/1.jpg", "a/b/2.jpg", "c/3.jpg", "4.jpg"),
        ("train/a/1.jpg", "train/c/d/2.jpg", "test/a/3.jpg", "test/4.jpg"),
    ],
)
def test_labels_by_the_names_of_images_are_those_of_the_data_set(names, tmp_path):
    known = {item.id: item.label for item in folder(put(tmp_path, *names)).items}
    assert sorted(known) == sorted(names) and "" in known.values()
    assert label_by_folder(names) == [known[name] for name in names]


def test_a_list_on_standard_input_is_no_data_set():
    with pytest.raises(DataError, match="-: a list on standard input has no labels"):
        spell_data_set("-")
