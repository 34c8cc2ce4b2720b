"""Laws of the loaders: batch n is a function of seed and n, bad images are named and replaced,
nothing hangs.
"""

import csv
import os
import random
import shutil

import numpy as np
import pytest
import torch
from corpus import photos

from fastseek.data.builders import (
    build_sampler,
    build_test_loader,
    build_train_loader,
    fit_batch_size,
    shard,
)
from fastseek.data.fastreid_datasets import resolve
from fastseek.data.label_index import TrainSet
from fastseek.errors import DataError, RunError, UsageError
from fastseek.structures import Item
from fastseek.structures.item_table import Paths

KEYS = {"images", "targets", "camids", "img_paths", "ids"}


def take(loader, count, step=0):
    loader.seek(step)
    batches = iter(loader)
    taken = [next(batches) for _ in range(count)]
    batches.close()
    return taken


def same(one, other):
    return (
        set(one) == set(other)
        and all(torch.equal(one[key], other[key]) for key in ("images", "targets", "camids"))
        and one["ids"] == other["ids"]
        and one["img_paths"] == other["img_paths"]
    )


def rejected(cfg):
    with open(
        os.path.join(cfg.OUTPUT_DIR, "rejects.csv"), newline="", errors="surrogateescape"
    ) as file:
        return list(csv.DictReader(file))


@pytest.fixture
def damaged(cfg, toy_root, tmp_path):
    """A private copy of the toy gallery, whose files may be spoilt."""
    root = tmp_path / "data"
    shutil.copytree(toy_root, root)
    cfg.DATASETS.NAMES = (f"folder({str(root)!r})",)
    return root


def test_a_batch_is_what_the_model_is_promised(cfg):
    loader = build_train_loader(cfg)
    (batch,) = take(loader, 1)
    assert set(batch) == KEYS
    assert batch["images"].shape == (8, 3, 24, 24) and batch["images"].dtype == torch.float32
    assert 0 <= batch["images"].min() and 100 < batch["images"].max() <= 255
    assert batch["targets"].dtype == batch["camids"].dtype == torch.int64
    assert batch["camids"].tolist() == [0] * 8
    for target, path, name in zip(
        batch["targets"].tolist(), batch["img_paths"], batch["ids"], strict=True
    ):
        assert loader.dataset.classes[target] == name.split("/")[1] and path.endswith(name)


def test_the_dataset_tells_its_classes(cfg):
    dataset = build_train_loader(cfg).dataset
    assert len(dataset) == 48 and dataset.num_classes == 8 and dataset.num_cameras == 1
    assert dataset.classes == sorted(dataset.classes) and dataset.counts.tolist() == [6] * 8
    assert [dataset.classes[code] for code in dataset.labels] == [
        item.label for item in dataset.items
    ]


def test_F40_cameras_are_counted_only_where_there_are_several(cfg, monkeypatch, caplog):
    """It said "1 cameras"."""
    caplog.set_level("INFO", "fastseek.data.builders")
    cameras = build_train_loader(cfg).dataset.num_cameras
    told = [line for line in caplog.messages if line.startswith("training on ")]
    assert len(told) == 1 and (f", {cameras} cameras" in told[0]) is (cameras > 1)
    for count in (1, 2):
        caplog.clear()
        monkeypatch.setattr(TrainSet, "num_cameras", count)
        build_train_loader(cfg)
        assert ("2 cameras" in caplog.text, "1 cameras" in caplog.text) == (count == 2, False)


def test_batch_n_is_the_same_however_it_is_reached(cfg):
    straight = take(build_train_loader(cfg), 9)
    again = build_train_loader(cfg)
    for step in (8, 3, 7):  # the next epoch begins at 6
        assert same(take(again, 1, step)[0], straight[step])
    assert not same(straight[0], straight[6])


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_change_nothing(cfg, workers):
    straight = take(build_train_loader(cfg), 5, 4)
    cfg.DATALOADER.NUM_WORKERS = workers
    assert all(map(same, take(build_train_loader(cfg, context="fork"), 5, 4), straight))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("workers, context", [(2, "fork"), (1, "spawn")])
def test_workers_change_nothing_of_fast_reids_own_transforms_either(cfg, workers, context):
    cfg.SEEK.TRAIN = []
    cfg.INPUT.SIZE_TRAIN = [32, 16]
    for flag in ("FLIP", "PADDING", "CJ", "AUTOAUG", "REA", "AFFINE"):
        cfg.INPUT[flag].ENABLED = True
    cfg.INPUT.AUTOAUG.PROB = 0.9
    straight = take(build_train_loader(cfg), 3)
    assert straight[0]["images"].shape == (8, 3, 32, 16)
    cfg.DATALOADER.NUM_WORKERS = workers
    assert all(map(same, take(build_train_loader(cfg, context=context), 3), straight))


@pytest.mark.parametrize("world_size", [2, 4])
@pytest.mark.parametrize("sampler", ["shuffle()", "pk(k=2)", "balanced_pk(k=2)", "imbalanced()"])
def test_the_processes_runs_are_the_global_batch(cfg, sampler, world_size):
    cfg.SEEK.SAMPLER = sampler
    whole = take(build_train_loader(cfg), 2, 5)
    parts = [
        take(build_train_loader(cfg, rank=rank, world_size=world_size), 2, 5)
        for rank in range(world_size)
    ]
    for number, batch in enumerate(whole):
        assert batch["ids"] == [name for part in parts for name in part[number]["ids"]]
        assert torch.equal(batch["images"], torch.cat([part[number]["images"] for part in parts]))


def test_another_seed_gives_other_images_and_another_augmentation(cfg):
    (first,) = take(build_train_loader(cfg), 1)
    cfg.SEED = 1
    assert not same(first, take(build_train_loader(cfg), 1)[0])


def test_one_image_is_augmented_anew_every_time(cfg):
    loader = build_train_loader(cfg)
    seen = {}
    for batch in take(loader, 30):
        for name, image in zip(batch["ids"], batch["images"], strict=True):
            seen.setdefault(name, []).append(image)
    assert all(
        any(not torch.equal(images[0], other) for other in images) for images in seen.values()
    )
    rows = np.arange(8)
    first, later = loader.images[(0, 0, rows)]["images"], loader.images[(1, 0, rows)]["images"]
    assert not torch.equal(first, later)
    assert torch.equal(first[4:], loader.images[(0, 4, rows[4:])]["images"])


@pytest.mark.parametrize("workers", [0, 2])
def test_the_models_random_numbers_are_not_used_up(cfg, workers):
    cfg.DATALOADER.NUM_WORKERS = workers
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    take(build_train_loader(cfg), 3)
    assert torch.equal(states[0], torch.get_rng_state())
    assert np.array_equal(states[1], np.random.get_state()[1]) and states[2] == random.getstate()


def test_nothing_starts_before_the_first_batch_is_asked_for(cfg, monkeypatch):
    started = []
    monkeypatch.setattr(
        "fastseek.data.loaders.DataLoader", lambda *_, **options: started.append(options) or []
    )
    loader = build_train_loader(cfg)
    batches = iter(loader)
    assert not started
    loader.seek(7)
    assert next(batches, None) is None
    assert len(started) == 1 and next(iter(started[0]["sampler"]))[0] == 7


def test_len_is_the_batches_of_an_epoch(cfg):
    assert len(build_train_loader(cfg)) == 6


BAD = {
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:300]),
    "page": lambda path: path.write_bytes(photos.bad_files()["page.jpg"][0]),
    "empty": lambda path: path.write_bytes(b""),
    "gone": lambda path: path.unlink(),
    "fifo": lambda path: (path.unlink(), os.mkfifo(path)),
    "folder": lambda path: (path.unlink(), path.mkdir()),
    "bomb": lambda path: path.write_bytes(photos.bomb(10_000)),
}
CODES = {
    "truncated": "TRUNCATED",
    "page": "UNKNOWN_FORMAT",
    "empty": "EMPTY",
    "gone": "MISSING",
    "fifo": "MISSING",
    "folder": "MISSING",
    "bomb": "TOO_LARGE",
}


@pytest.mark.filterwarnings("ignore:Image size")
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("kind", BAD)
def test_a_bad_image_is_replaced_by_its_own_class_and_named_once(cfg, damaged, kind, workers):
    """landmark row 6."""
    cfg.DATALOADER.NUM_WORKERS = workers
    name = "train/class_03/0002.jpg"
    clean = take(build_train_loader(cfg), 14)
    loader = build_train_loader(cfg)
    BAD[kind](damaged / name)
    batches = take(loader, 14)
    hit = 0
    for before, after in zip(clean, batches, strict=True):
        assert torch.equal(before["targets"], after["targets"])
        for place, old in enumerate(before["ids"]):
            hit += old == name
            assert (after["ids"][place] != old) == (old == name)
            assert after["ids"][place].split("/")[1] == old.split("/")[1]
            assert (old == name) or torch.equal(before["images"][place], after["images"][place])
    assert hit >= 2
    (row,) = rejected(cfg)
    assert (
        row["path"] == str(damaged / name)
        and row["code"] == CODES[kind]
        and row["phase"] == "train"
    )
    assert loader.dataset.items[int(row["row"])].id == name and row["detail"]
    if kind in ("truncated", "page"):
        assert int(row["bytes"]) == (damaged / name).stat().st_size and len(row["sha256"]) == 64
    assert [one["path"] for one in loader.log.rejects] == [row["path"]]


def test_replacements_too_are_a_function_of_seed_and_step(cfg, damaged):
    for number in range(4):
        (damaged / f"train/class_05/000{number}.jpg").write_bytes(b"no image")
    first = take(build_train_loader(cfg), 8)
    cfg.DATALOADER.NUM_WORKERS = 2
    assert all(map(same, take(build_train_loader(cfg), 8), first))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_class_without_a_readable_image_is_an_error_that_names_it(cfg, damaged, workers):
    cfg.DATALOADER.NUM_WORKERS = workers
    for path in (damaged / "train" / "class_06").iterdir():
        path.write_bytes(b"no image")
    with pytest.raises(
        DataError, match=r"no image of class 'class_06' can be read: see .*rejects\.csv"
    ):
        take(build_train_loader(cfg), 8)
    assert len(rejected(cfg)) == 6


@pytest.mark.parametrize("workers", [0, 2])
def test_too_many_bad_images_stop_the_run(cfg, damaged, workers):
    cfg.DATALOADER.NUM_WORKERS = workers
    for label in range(8):
        for number in range(2):
            (damaged / f"train/class_{label:02d}/000{number}.jpg").write_bytes(b"")
    with pytest.raises(DataError, match=r"more than the 10 allowed: see .*rejects\.csv"):
        take(build_train_loader(cfg), 14)
    cfg.SEEK.MAX_BAD = 0.5
    assert len(take(build_train_loader(cfg), 14)) == 14
    assert len({row["path"] for row in rejected(cfg)}) == len(rejected(cfg)) == 16


def test_on_bad_fail_stops_at_the_first(cfg, damaged):
    cfg.SEEK.ON_BAD = "fail"
    (damaged / "train/class_01/0001.jpg").write_bytes(b"")
    with pytest.raises(DataError, match=r"0001\.jpg: EMPTY"):
        take(build_train_loader(cfg), 6)


def test_a_huge_class_of_missing_files_is_not_tried_to_its_end(cfg, damaged, monkeypatch):
    for path in (damaged / "train" / "class_02").iterdir():
        path.write_bytes(b"")
    loader = build_train_loader(cfg)
    loader.images.budget = loader.log.budget = 2
    with pytest.raises(DataError):
        take(loader, 8)
    assert len(rejected(cfg)) <= 3


@pytest.mark.parametrize("workers", [0, 2])
def test_images_of_different_size_are_told_with_two_names(cfg, damaged, workers):
    cfg.DATALOADER.NUM_WORKERS = workers
    photos.scene((50, 40)).save(damaged / "train/class_00/0000.jpg")
    cfg.SEEK.TRAIN = ["hflip(0.5)"]
    with pytest.raises(DataError, match=r"add a transform that gives one size") as told:
        take(build_train_loader(cfg), 6)
    assert "(3, 32, 32)" in str(told.value) and "class_00/0000.jpg" in str(told.value)
    assert "(3, 40, 50)" in str(told.value) and "Traceback" not in str(told.value)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_transform_that_fails_names_the_image(cfg, workers, monkeypatch):
    cfg.DATALOADER.NUM_WORKERS = workers
    monkeypatch.setattr("fastseek.data.transforms.resize.Resize.__call__", lambda *_: 1 / 0)
    with pytest.raises(RunError, match=r"\.jpg \(32 x 32\): a transform failed: ZeroDivisionError"):
        take(build_train_loader(cfg, context="fork"), 1)


def test_a_transform_that_gives_no_image_names_the_image(cfg, monkeypatch):
    monkeypatch.setattr(
        "fastseek.data.transforms.resize.Resize.__call__", lambda *_: torch.zeros(1, 5, 5)
    )
    with pytest.raises(
        RunError, match=r"\.jpg: the transforms gave no tensor \[3, H, W\] but Tensor \(1, 5, 5\)"
    ):
        take(build_train_loader(cfg), 1)


def test_a_worker_that_dies_is_an_error_and_no_hang(cfg, monkeypatch):
    cfg.DATALOADER.NUM_WORKERS = 2
    monkeypatch.setattr("fastseek.data.torch_datasets.TrainImages.batch", lambda *_: os._exit(1))
    with pytest.raises(RunError, match=r"worker \(pid \d+\) died: exit code 1.*batch 1 "):
        take(build_train_loader(cfg, context="fork"), 1)


@pytest.mark.parametrize(
    "batch, world_size, expected",
    [
        (0, 1, "from 1 to 48"),
        (-8, 1, "from 1 to 48"),
        (49, 1, "from 1 to 48"),
        (8, 3, "a multiple of 3"),
    ],
)
def test_a_batch_size_that_cannot_work_tells_the_legal_ones(cfg, batch, world_size, expected):
    cfg.SOLVER.IMS_PER_BATCH = batch
    with pytest.raises(UsageError, match=f"IMS_PER_BATCH {batch}.*{expected}"):
        build_train_loader(cfg, world_size=world_size)


@pytest.mark.parametrize(
    "name, call",
    [
        ("TrainingSampler", "shuffle()"),
        ("NaiveIdentitySampler", "pk(k=2)"),
        ("BalancedIdentitySampler", "balanced_pk(k=2)"),
        ("ImbalancedDatasetSampler", "imbalanced()"),
    ],
)
def test_fast_reids_sampler_names_stand_for_ours(cfg, name, call):
    cfg.DATALOADER.SAMPLER_TRAIN, cfg.DATALOADER.NUM_INSTANCE = name, 2
    theirs = take(build_train_loader(cfg), 2)
    cfg.SEEK.SAMPLER = call
    assert all(map(same, take(build_train_loader(cfg), 2), theirs))


@pytest.mark.parametrize(
    "name, expected", [("SetReWeightSampler", "cannot run"), ("Sampler", "is none of")]
)
def test_samplers_that_cannot_run_are_refused(cfg, name, expected):
    cfg.DATALOADER.SAMPLER_TRAIN = name
    with pytest.raises(UsageError, match=expected):
        build_train_loader(cfg)


def test_wrong_settings_are_refused(cfg):
    cfg.SEEK.ON_BAD = "ignore"
    with pytest.raises(UsageError, match="'skip' or 'fail'"):
        build_train_loader(cfg)
    cfg.SEEK.ON_BAD, cfg.SEED = "skip", -1
    with pytest.raises(UsageError, match="SEED -1"):
        build_train_loader(cfg)


def test_images_without_labels_cannot_be_trained_on(cfg, tmp_path):
    photos.scene().save(tmp_path / "x.jpg")
    cfg.DATASETS.NAMES = (f"folder({str(tmp_path)!r})",)
    with pytest.raises(DataError, match=r"x\.jpg has no label"):
        build_train_loader(cfg)


def test_groups_are_camera_codes(cfg, toy_root, tmp_path):
    rows = [
        f"{item.path},{item.label},{'cam' + item.id[-5] if number % 3 else ''}"
        for number, item in enumerate(resolve(cfg.DATASETS.NAMES[0]))
        if item.split == "train"
    ]
    (tmp_path / "list.csv").write_text("path,label,group\n" + "\n".join(rows) + "\n")
    cfg.DATASETS.NAMES = (f"manifest({str(tmp_path / 'list.csv')!r})",)
    loader = build_train_loader(cfg)
    (batch,) = take(loader, 1)
    groups = {item.path: item.group for item in loader.dataset.items}
    assert loader.dataset.cameras[0] == "" and loader.dataset.num_cameras == 5
    for path, camera in zip(batch["img_paths"], batch["camids"].tolist(), strict=True):
        assert loader.dataset.cameras[camera] == groups[path]


def test_two_data_sets_are_trained_on_together(cfg, toy_root):
    other = f"folder({str(toy_root / 'gallery')!r})"
    cfg.DATASETS.NAMES = (*cfg.DATASETS.NAMES, other)
    dataset = build_train_loader(cfg).dataset
    assert len(dataset) == 96 and dataset.num_classes == 8


def items_of(cfg):
    return [item for item in resolve(cfg.DATASETS.NAMES[0]) if item.split != "train"]


@pytest.mark.parametrize("workers", [0, 2])
def test_test_batches_are_the_items_in_their_order(cfg, workers):
    cfg.DATALOADER.NUM_WORKERS = workers
    items = items_of(cfg)
    loader = build_test_loader(cfg, items)
    batches = list(loader)
    assert len(loader) == len(batches) == 7
    assert [name for batch in batches for name in batch["ids"]] == [item.id for item in items]
    assert torch.cat([batch["rows"] for batch in batches]).tolist() == list(range(64))
    assert set(batches[0]) == KEYS | {"rows", "rejects"} and batches[0]["rejects"] == []
    assert batches[0]["images"].shape == (10, 3, 24, 24) and batches[-1]["images"].shape == (
        4,
        3,
        24,
        24,
    )


@pytest.mark.parametrize("workers", [0, 2])
def test_bad_images_are_left_out_of_test_batches_and_named(cfg, damaged, workers):
    """landmark row 6."""
    cfg.DATALOADER.NUM_WORKERS = workers
    items = items_of(cfg)
    good = list(build_test_loader(cfg, items))
    for item in items[10:20] + items[3:4]:
        with open(item.path, "r+b") as file:
            file.truncate(100)
    batches = list(build_test_loader(cfg, items))
    assert batches[0]["rows"].tolist() == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    assert torch.equal(batches[0]["images"], good[0]["images"][batches[0]["rows"]])
    (reject,) = batches[0]["rejects"]
    assert list(reject) == ["path", "row", "phase", "code", "detail", "sha256", "bytes"]
    assert (reject["path"], reject["row"], reject["phase"], reject["code"], reject["bytes"]) == (
        items[3].path,
        3,
        "extract",
        "TRUNCATED",
        100,
    )
    assert (
        len(batches[1]["images"]) == 0
        and batches[1]["ids"] == []
        and len(batches[1]["rejects"]) == 10
    )
    cfg.SEEK.ON_BAD = "fail"
    with pytest.raises(DataError, match="TRUNCATED"):
        list(build_test_loader(cfg, items))


@pytest.mark.parametrize("count, world_size", [(64, 1), (64, 3), (5, 8), (0, 2)])
def test_shards_are_runs_that_hold_everything_once(count, world_size):
    runs = [shard(count, rank, world_size) for rank in range(world_size)]
    assert [row for run in runs for row in run] == list(range(count))
    assert max(map(len, runs)) - min(map(len, runs)) <= 1


def test_test_batches_of_the_processes_hold_everything_once(cfg):
    items = items_of(cfg)
    whole = torch.cat([batch["images"] for batch in build_test_loader(cfg, items)])
    parts = [
        batch
        for rank in range(3)
        for batch in build_test_loader(cfg, items, rank=rank, world_size=3)
    ]
    assert torch.equal(torch.cat([batch["images"] for batch in parts]), whole)
    assert torch.cat([batch["rows"] for batch in parts]).tolist() == list(range(64))


def test_a_test_batch_never_holds_items_of_two_runs(cfg):
    items, runs = items_of(cfg), [range(3, 14), range(14, 15), range(40, 64)]
    loader = build_test_loader(cfg, items, runs=runs)
    rows = [batch["rows"].tolist() for batch in loader]
    assert [row for batch in rows for row in batch] == [row for run in runs for row in run]
    assert all(any(set(batch) <= set(run) for run in runs) for batch in rows)
    assert loader.total == 36


def test_test_batch_size_below_one_a_process_is_refused(cfg):
    for size, world_size in ((0, 1), (2, 3)):
        cfg.TEST.IMS_PER_BATCH = size
        with pytest.raises(UsageError, match=f"at least {world_size}"):
            build_test_loader(cfg, items_of(cfg), world_size=world_size)


def test_workers_hold_no_items(cfg):
    images = build_train_loader(cfg).images
    held = vars(images) | vars(images.files)
    del held["transform"], held["files"]
    assert held.pop("cache") is None and held.pop("boxes") is None
    assert held.pop("_pool") is None and held.pop("_waiting") == {}
    assert isinstance(held.pop("paths"), Paths)  # columns of a table, not a string an image
    assert held and all(isinstance(value, (np.ndarray, int, str)) for value in held.values())


def test_patches_of_other_images_do_not_depend_on_the_workers(cfg):
    """finegrained row 29: elsewhere every worker has a pool of its own, filled with what it
    happened to see.
    """
    cfg.SEEK.TRAIN = ["resize(24)", "random_patch(0.8, pool=7)"]
    found = []
    for workers in (0, 1, 2):
        cfg.DATALOADER.NUM_WORKERS = workers
        found.append(
            [batch["images"] for batch, _ in zip(build_train_loader(cfg), range(6), strict=False)]
        )
    for other in found[1:]:
        assert all(torch.equal(*pair) for pair in zip(found[0], other, strict=True))


@pytest.mark.parametrize(
    ("call", "classes", "images", "expected"),
    [
        ("pk(k=4)", 4, 4, 16),
        ("pk(k=4)", 13, 1, 12),
        ("pk(k=4)", 3, 40, 12),
        ("shuffle()", 13, 1, 13),
        ("balanced(m=4)", 2, 40, 8),
    ],
)
def test_F31_a_batch_is_shrunk_to_a_size_the_sampler_makes(
    cfg, tmp_path, call, classes, images, expected
):
    cfg.SEEK.SAMPLER, cfg.SOLVER.IMS_PER_BATCH, cfg.SEED = call, 16, -1
    items = [
        Item(f"{label}/{number}.jpg", str(label))
        for label in range(classes)
        for number in range(images)
    ]
    assert fit_batch_size(cfg, items) == expected
    cfg.SOLVER.IMS_PER_BATCH, cfg.SEED = expected, 0
    assert build_sampler(cfg, TrainSet(items)).epoch(0).shape[1] == expected
