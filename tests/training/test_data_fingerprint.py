"""A resume notices other images, and a start notices finished work."""

import dataclasses
import ntpath
import os
import pathlib
import shutil
from types import SimpleNamespace

import pytest

from fastseek.errors import ArtefactError, DataError, UsageError
from fastseek.structures import Item
from fastseek.training import data_fingerprint
from fastseek.training.checkpoint import TAG, Checkpointer
from fastseek.training.data_fingerprint import check_same_images, common_folder, fingerprint
from fastseek.training.trainer import Trainer
from fastseek.workflows import train as command


@pytest.fixture
def items(tmp_path):
    made = []
    for number in range(6):
        path = tmp_path / f"{number}.jpg"
        path.write_bytes(bytes([number]) * 50)
        made.append(Item(path=str(path), label=str(number % 2), split="train", id=path.name))
    return made


def test_images_on_two_drives_have_no_common_folder(items, monkeypatch):
    assert common_folder(items) == str(pathlib.Path(items[0].path).parent)
    assert common_folder([]) == ""
    monkeypatch.setattr(data_fingerprint, "os", SimpleNamespace(path=ntpath))
    monkeypatch.setattr(data_fingerprint, "absolute", ntpath.abspath)
    drives = [
        dataclasses.replace(item, path=f"{drive}:\\a.jpg")
        for item, drive in zip(items, "CD", strict=False)
    ]
    assert common_folder(drives) == ""


def exchange(first, second):
    one, two = pathlib.Path(first.path), pathlib.Path(second.path)
    content, times = one.read_bytes(), [os.stat(path).st_mtime_ns for path in (one, two)]
    one.write_bytes(two.read_bytes())
    two.write_bytes(content)
    for path, time in zip((one, two), times, strict=True):
        os.utime(path, ns=(time, time))


def relabel(items):
    items[0] = Item(path=items[0].path, label="9", split="train", id=items[0].id)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda items: exchange(items[0], items[1]), "what is in their files changed"),
        (lambda items: pathlib.Path(items[2].path).write_bytes(b"longer" * 20), "sizes"),
        (lambda items: pathlib.Path(items[2].path).unlink(), "sizes"),
        (lambda items: items.pop(), "their number"),
        (relabel, "names or labels"),
    ],
)
def test_F48_other_images_are_noticed_whatever_changed_of_them(items, change, told):
    before = fingerprint(items)
    check_same_images(before, fingerprint(items))
    check_same_images(None, fingerprint(items))  # a checkpoint of version 0.1
    change(items)
    with pytest.raises(ArtefactError, match=told):
        check_same_images(before, fingerprint(items))


def test_F48_the_same_images_copied_elsewhere_are_the_same(items, tmp_path):
    before = fingerprint(items)
    shutil.copytree(tmp_path, tmp_path / "copy")
    moved = [
        Item(path=str(tmp_path / "copy" / one.id), label=one.label, split="train", id=one.id)
        for one in items
    ]
    for one in moved:
        os.utime(one.path, (7, 7))
    check_same_images(before, fingerprint(moved))


def test_F48_of_many_images_evenly_spaced_ones_are_looked_at(items, monkeypatch):
    monkeypatch.setattr(data_fingerprint, "LOOKED_AT", 3)
    monkeypatch.setattr(data_fingerprint, "READ", 2)
    before = fingerprint(items)
    assert [one.id for one in data_fingerprint._space_evenly(items, 3)] == [
        "0.jpg",
        "2.jpg",
        "5.jpg",
    ]
    exchange(items[0], items[5])
    with pytest.raises(ArtefactError, match="what is in their files"):
        check_same_images(before, fingerprint(items))


def test_F48_a_run_is_not_resumed_with_exchanged_images(recipe_of, photos, tmp_path):
    mine = tmp_path / "mine"
    shutil.copytree(photos, mine)
    cfg = recipe_of(DATASETS__NAMES=(f"folder('{mine}')",), SOLVER__MAX_EPOCH=1)
    Trainer(cfg).train()
    Trainer(cfg).resume_or_load()
    first, second = (mine / "train" / name / "0000.jpg" for name in ("class_00", "class_01"))
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)
    with pytest.raises(ArtefactError, match="training images are others than the checkpoint's"):
        Trainer(cfg).resume_or_load()


def test_F48_a_finished_model_is_not_trained_over_without_force(recipe_of, tmp_path):
    cfg = recipe_of(SOLVER__MAX_EPOCH=1)
    Trainer(cfg).train()
    model = pathlib.Path(cfg.OUTPUT_DIR) / "model_final.safetensors"
    before = model.read_bytes()
    with pytest.raises(UsageError, match="holds a finished model.*--resume.*--force"):
        command.refuse_finished(cfg.OUTPUT_DIR, resume=False, force=False)
    for allowed in ({"resume": True, "force": False}, {"resume": False, "force": True}):
        command.refuse_finished(cfg.OUTPUT_DIR, **allowed)
    command.refuse_finished(str(tmp_path / "new"), resume=False, force=False)
    assert model.read_bytes() == before


def test_F48_whole_checkpoints_without_the_name_of_the_last_are_not_begun_over(recipe_of):
    cfg = recipe_of(SOLVER__MAX_EPOCH=2)
    Trainer(cfg).train()
    (pathlib.Path(cfg.OUTPUT_DIR) / TAG).unlink()
    with pytest.raises(ArtefactError, match="model_final, model_0000.*no last_checkpoint"):
        Trainer(cfg).resume_or_load()


def test_F48_the_first_checkpoint_of_a_killed_run_is_gone_on_with(recipe_of):
    """A kill between a run's first checkpoint and the file that names it."""
    cfg = recipe_of(SOLVER__MAX_EPOCH=1)
    trainer = Trainer(cfg)
    trainer.train()
    (pathlib.Path(cfg.OUTPUT_DIR) / TAG).unlink()
    again = Checkpointer(trainer.model, cfg.OUTPUT_DIR)
    assert again.find_untagged() == "model_final"
    resumed = Trainer(cfg)
    resumed.resume_or_load()
    assert resumed.start_step == 3


@pytest.mark.parametrize(
    ("tests", "told"),
    [
        ("folder('{gone}')", "gone"),
        ("folder('{photos}/train')", "no query|no gallery"),
    ],
)
def test_F22_test_sets_that_cannot_be_used_are_refused_before_the_training(
    recipe_of, photos, tmp_path, tests, told
):
    name = tests.format(gone=tmp_path / "gone", photos=photos)
    with pytest.raises(DataError, match=told):
        Trainer(recipe_of(DATASETS__TESTS=(f"folder('{photos}')", name)))
    assert not (tmp_path / "out" / "metrics.jsonl").exists()


def test_F46_the_log_names_the_folder_of_the_images_that_are_trained_on(recipe_of, photos):
    cfg = recipe_of()
    Trainer(cfg)
    log = (pathlib.Path(cfg.OUTPUT_DIR) / "log.txt").read_text()
    assert f"the training images lie in {photos}/train\n" in log
