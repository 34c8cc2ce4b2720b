"""Google Landmarks v2 from lists in the official forms."""

import logging
import multiprocessing
import os
import pickle
import time

import numpy as np
import pytest

import toy
from fastseek import register
from fastseek.data.builders import build_test_loader, build_train_loader
from fastseek.data.datasets.gldv2 import Gldv2
from fastseek.data.fastreid_datasets import resolve
from fastseek.data.label_index import TrainSet
from fastseek.errors import DataError, UsageError
from fastseek.formats import gldv2_lists as lists
from fastseek.formats.gldv2_names import layout
from fastseek.registry import DATASETS, build
from fastseek.structures import ItemTable, with_split

CLEAN = {2: 6, 9: 5, 10: 4, 100: 1}  # landmark -> images
NOISY = {2: 3, 10: 1, 77: 2, -1: 2}  # more in the full set


def name(landmark, number):
    return f"{(landmark + 2) * 7919 % 4096:03x}{landmark + 2:05x}{number:08x}"


@pytest.fixture
def root(tmp_path):
    """Lists, and the toy images of every landmark where train.csv says."""
    home = tmp_path / "gl"
    (home / "train").mkdir(parents=True)
    clean = {
        landmark: [name(landmark, number) for number in range(count)]
        for landmark, count in CLEAN.items()
    }
    noisy = {
        landmark: [name(landmark, 50 + number) for number in range(count)]
        for landmark, count in NOISY.items()
    }
    rows = [
        (one, landmark)
        for part in (clean, noisy)
        for landmark, names in part.items()
        for one in names
    ]
    rows = [rows[place] for place in np.random.default_rng(0).permutation(len(rows))]
    (home / "train.csv").write_text(
        "id,url,landmark_id\n"
        + "".join(f'{one},"http://a/b,c.jpg",{landmark}\n' for one, landmark in rows)
    )
    (home / "train_clean.csv").write_text(
        "landmark_id,images\n"
        + "".join(f"{landmark},{' '.join(names)}\n" for landmark, names in clean.items())
    )
    (home / "recognition_solution_v2.1.csv").write_text(
        "id,landmarks,Usage\naaa0,10 2,Private\naaa1,,Public\naaa2,9,Ignored\naaa3,555"
        " 9,Public\naaa4,555,Public\n"
    )
    (home / "index_image_to_landmark.csv").write_text(
        "id,landmark_id\nbbb0,2\nbbb1,2\nbbb2,31\nbbb3,4\n"
    )
    (home / "train_label_to_category.csv").write_text(
        "landmark_id,category\n"
        + "".join(
            f"{landmark},http://commons.wikimedia.org/wiki/Category:Place_{landmark}\n"
            for landmark in CLEAN
        )
    )
    (home / "index_label_to_category.csv").write_text(
        "landmark_id,category\n2,http://commons.wikimedia.org/wiki/Category:Place_9\n"
        "31,http://commons.wikimedia.org/wiki/Category:Elsewhere\n"
        "4,http://commons.wikimedia.org/wiki/Category:Place%5F2\n"
    )
    for one, landmark in rows:
        path = home / "train" / layout(one)
        path.parent.mkdir(parents=True, exist_ok=True)
        toy.photo(max(landmark, 0), int(one[-4:], 16), 24).save(path)
    return home


def made(root, **options):
    return Gldv2(str(root), **{"cache": "", **options})


def labels_of(items):
    return {item.id: item.label for item in items}


@pytest.mark.parametrize(
    "kind, images, classes, left_out",
    [
        ("clean", 16, ["2", "9", "10", "100"], {"without a landmark": 0}),
        ("full", 22, ["2", "9", "10", "77", "100"], {"without a landmark": 2}),
        ("v2x", 20, ["2", "9", "10", "100"], {"without a landmark": 2, "of other classes": 2}),
    ],
)
def test_the_three_sets_are_built_and_counted(root, kind, images, classes, left_out, caplog):
    """landmark rows 1, 2 and 4."""
    with caplog.at_level(logging.INFO):
        data = made(root, kind=kind)
    assert data.counts == {"training images": images, "classes": len(classes), **left_out}
    assert f"{images:,} training images" in caplog.text
    train = TrainSet(data.items)
    assert train.classes == classes and len(train) == images
    truth = {
        name(landmark, number + 50 * (part is NOISY)): str(landmark)
        for part in (CLEAN, NOISY)
        for landmark, count in part.items()
        for number in range(count)
    }
    found = labels_of(data.items)
    assert all(truth[one] == label for one, label in found.items())
    kept = {
        one
        for one, label in truth.items()
        if label in classes and (kind != "clean" or not int(one[8:], 16) >= 50)
    }
    assert set(found) == kept


def test_kaggles_short_list_of_the_clean_set_is_read_too(root):
    """landmark row 1."""
    listed = made(root)
    (root / "kaggle.csv").write_text(
        "id,landmark_id\n" + "".join(f"{item.id},{item.label}\n" for item in listed.items)
    )
    assert labels_of(made(root, clean="kaggle.csv").items) == labels_of(listed.items)


def test_images_lie_below_the_first_letters_of_their_ids(root):
    """landmark row 3."""
    for item in made(root, kind="full").items:
        assert item.path == os.path.join(
            root, "train", item.id[0], item.id[1], item.id[2], f"{item.id}.jpg"
        )
        assert os.path.exists(item.path)


@pytest.mark.parametrize(
    "file, content, told",
    [
        (
            "train.csv",
            "id,url,landmark_id\nabc1,u,1\nab,u,2\n",
            "train.csv:3: image id 'ab' must be letters and digits",
        ),
        ("train.csv", "id,url,landmark_id\n../../x,u,1\n", "train.csv:2: image id '../../x'"),
        (
            "train.csv",
            "id,url,landmark_id\nabc1,u,one\n",
            "train.csv:2: a landmark must be a whole number, found 'one'",
        ),
        ("train.csv", "id,url,landmark_id\nabc1,u\n", "train.csv:2: 2 values, the header has 3"),
        (
            "train.csv",
            "id,url\nabc1,u\n",
            "train.csv:1: the header must hold id,landmark_id, found 'id,url'",
        ),
        (
            "train.csv",
            "id,landmark_id\nabc1,1\nabc2,1\nabc1,2\n",
            "train.csv:4: image 'abc1' stands in line 2 already, must be once",
        ),
        (
            "train_clean.csv",
            "landmark_id,images\n1,\n",
            "train_clean.csv:2: landmark 1 has no images",
        ),
        (
            "recognition_solution_v2.1.csv",
            "id,landmarks,Usage\nabc,1,public\n",
            "Usage must be Public, Private, Ignored",
        ),
        (
            "index_label_to_category.csv",
            "landmark_id,category\n1,Category:\n",
            "landmark 1 has no category",
        ),
    ],
)
def test_damaged_lists_are_told_with_file_and_row(root, file, content, told):
    """landmark rows 1 and 3."""
    (root / file).write_text(content)
    with pytest.raises(DataError, match=told.replace("..", r"\.\.")):
        made(root, kind="v2x", validation="test", gallery="index")


def test_a_missing_list_and_a_wrong_kind_are_told(root):
    (root / "train_clean.csv").unlink()
    with pytest.raises(DataError, match="train_clean.csv: cannot be read"):
        made(root)
    with pytest.raises(UsageError, match="kind must be full, clean, v2x"):
        build(f"gldv2({str(root)!r}, kind='cleaned')", DATASETS)
    with pytest.raises(UsageError, match="share must be above 0"):
        build(f"gldv2({str(root)!r}, share=0.9)", DATASETS)


def test_classes_that_overlap_the_benchmarks_can_be_left_out(root):
    """landmark row 8."""
    (root / "overlap.txt").write_text("9\n100\n4242\n")
    data = made(root, exclude="overlap.txt")
    assert TrainSet(data.items).classes == ["2", "10"]
    assert data.counts["excluded images"] == 6 and data.counts["excluded classes"] == 2
    (root / "overlap.csv").write_text("name,landmark_id\nx,9\ny,100\n")
    assert labels_of(made(root, exclude="overlap.csv").items) == labels_of(data.items)


def test_the_test_of_2019_validates_with_images_that_show_no_landmark(root):
    """landmark row 7."""
    data = made(root, validation="test")
    queries = with_split(data.items, "query")
    assert [(item.id, item.label) for item in queries] == [
        ("aaa0", "10"),
        ("aaa1", ""),
        ("aaa3", "9"),
        ("aaa4", "555"),
    ]
    assert queries[0].path.endswith("/test/a/a/a/aaa0.jpg")
    gallery = with_split(data.items, "gallery")
    assert {item.label for item in gallery} == {"10", "9"} and len(gallery) == 9
    assert TrainSet(with_split(data.items, "train")).classes == ["2", "9", "10", "100"]
    assert data.counts["queries without a landmark"] == 1 and data.counts["queries"] == 4


def test_labels_of_the_index_are_joined_by_category_and_never_by_number(root):
    """landmark row 5."""
    gallery = with_split(made(root, validation="test", gallery="index").items, "gallery")
    assert labels_of(gallery) == {"bbb0": "9", "bbb1": "9", "bbb2": "index/31", "bbb3": "2"}
    assert gallery[0].path.endswith("/index/b/b/b/bbb0.jpg")
    (root / "train_label_to_category.csv").write_text(
        "landmark_id,category\n2,Category:A\n9,Category:A\n"
    )
    with pytest.raises(DataError, match="landmarks 2 and 9 have one category"):
        made(root, validation="test", gallery="index")


@pytest.mark.parametrize("share", [0.5, 0.25, 0.1])
def test_a_held_out_share_is_stratified_and_leaves_every_class_something(root, share):
    """landmark row 7."""
    data = made(root, kind="v2x", validation="stratified", share=share, seed=3)
    train, queries, gallery = (
        with_split(data.items, split) for split in ("train", "query", "gallery")
    )
    whole = TrainSet(made(root, kind="v2x").items)
    kept = TrainSet(train)
    assert kept.classes == whole.classes and (kept.counts >= 1).all()
    assert sorted([*labels_of(train), *labels_of(queries)]) == sorted(
        item.id for item in whole.items
    )
    many = whole.counts[whole.counts > 1]
    assert len(queries) == int(many.sum() * share)
    for label, count in zip(whole.classes, whole.counts, strict=True):
        held = sum(item.label == label for item in queries)
        assert count == 1 and held == 0 or abs(held - share * count) < 1
    assert {item.label for item in gallery} == {item.label for item in queries}
    assert set(labels_of(gallery)) <= set(labels_of(train))
    again = made(root, kind="v2x", validation="stratified", share=share, seed=3)
    assert list(again.items) == list(data.items)
    others = [
        made(root, kind="v2x", validation="stratified", share=share, seed=seed).items
        for seed in range(4, 9)
    ]
    assert any(list(other) != list(data.items) for other in others)


def test_what_was_read_is_kept_mapped_and_read_again_when_a_list_changes(
    root, tmp_path, monkeypatch
):
    first = made(root, validation="test", cache=str(tmp_path / "cache"))
    assert isinstance(first.items.ids, np.memmap) and list(first.items) == list(
        made(root, validation="test").items
    )
    with monkeypatch.context() as inner:
        inner.setattr(lists, "read_labelled", lambda path: pytest.fail("read again"))
        second = made(root, validation="test", cache=str(tmp_path / "cache"))
    assert list(second.items) == list(first.items) and second.counts == first.counts
    text = (root / "train_clean.csv").read_text()
    (root / "train_clean.csv").write_text(text + f"101,{name(101, 0)}\n")
    assert (
        TrainSet(with_split(made(root, cache=str(tmp_path / "cache")).items, "train")).classes[-1]
        == "101"
    )
    kept = next(path for path in (tmp_path / "cache").rglob("codes.npy"))
    for path in (tmp_path / "cache").rglob("codes.npy"):
        path.write_bytes(kept.read_bytes()[:40])
    assert list(made(root, validation="test", cache=str(tmp_path / "cache")).items)


def _opened(root, cache, out):
    data = Gldv2(str(root), cache=str(cache))
    out.put((os.stat(cache / data._key() / "ids.npy").st_ino, len(data.items)))


def test_of_many_processes_one_reads_and_all_map_its_files(root, tmp_path, monkeypatch):
    read = lists.read_labelled
    monkeypatch.setattr(
        lists,
        "read_labelled",
        lambda path: (
            os.close(os.open(root / f"by{os.getpid()}", os.O_CREAT))
            or time.sleep(0.2)
            or read(path)
        ),
    )
    context = multiprocessing.get_context("fork")
    out = context.Queue()
    crew = [context.Process(target=_opened, args=(root, tmp_path / "cache", out)) for _ in range(4)]
    for child in crew:
        child.start()
    assert len({out.get(timeout=1800) for _ in crew}) == 1
    for child in crew:
        child.join()
    assert len(list(root.glob("by*"))) == 1


def test_a_cache_that_cannot_be_written_is_done_without(root, caplog):
    data = made(root, cache="/proc/none")
    assert len(data.items) == 16 and "cannot be kept" in caplog.text


def test_the_trainer_reads_it_in_batches_with_classes_by_number(root, tmp_path):
    """landmark rows 4 and 6: a missing image is counted and replaced, the epoch goes on."""
    from fastreid.config import get_cfg

    cfg = get_cfg()
    register(cfg)
    cache = str(tmp_path / "cache")
    call = f"gldv2({str(root)!r}, kind='v2x', validation='stratified', share=0.25, cache={cache!r})"
    cfg.merge_from_list(
        [
            "DATASETS.NAMES",
            (call,),
            "SEEK.TRAIN",
            ["resize(16)"],
            "SEEK.TEST",
            ["resize(16)"],
            "SOLVER.IMS_PER_BATCH",
            8,
            "SEED",
            1,
            "OUTPUT_DIR",
            str(tmp_path / "out"),
            "DATALOADER.NUM_WORKERS",
            0,
            "TEST.IMS_PER_BATCH",
            4,
        ]
    )
    items = resolve(call)
    assert isinstance(items, ItemTable)
    train = with_split(items, "train")
    os.unlink(next(item.path for item in train if item.label == "2"))
    loader = build_train_loader(cfg)
    assert (
        pickle.loads(pickle.dumps(loader.images)).files.path(0) == train[0].path
    )  # as it goes to a spawned worker
    assert train[3].id.encode() not in pickle.dumps(loader.images)
    order = {"2": 0, "9": 1, "10": 2, "100": 3}
    batches = iter(loader)
    for _ in range(2 * len(loader)):
        batch = next(batches)
        assert [order[labels_of(train)[one]] for one in batch["ids"]] == batch["targets"].tolist()
    batches.close()
    assert len(loader.log.rejects) == 1
    queries = with_split(items, "query")
    assert [one for batch in build_test_loader(cfg, queries) for one in batch["ids"]] == [
        item.id for item in queries
    ]


def test_two_hundred_thousand_rows_are_columns_and_no_objects(tmp_path):
    """landmark row 2."""
    home = tmp_path / "gl"
    home.mkdir()
    random = np.random.default_rng(0)
    landmarks = random.integers(0, 5000, 200_000)
    (home / "train.csv").write_text(
        "id,landmark_id\n"
        + "".join(f"{row:016x},{landmark}\n" for row, landmark in enumerate(landmarks.tolist()))
    )
    items = Gldv2(str(home), kind="full", cache=str(tmp_path / "cache")).items
    train = TrainSet(with_split(items, "train"))
    assert sum(column.nbytes for column in (items.ids, items.codes, items.kinds)) == 21 * 200_000
    assert train.items.source is not None  # nothing was copied
    np.testing.assert_array_equal(train.labels, np.unique(landmarks, return_inverse=True)[1])
    assert train.items[123_456].id == f"{123_456:016x}"
