"""Training crops by the attention of the epoch before: whose weights, which file, and what a killed
run does.
"""

import os
import pathlib
import shutil
import signal

import numpy as np
import pytest
import torch
from PIL import Image

from fastseek.data.images import shape_of
from fastseek.errors import ArtefactError, UsageError
from fastseek.inference import embedding
from fastseek.regions.attention import above
from fastseek.regions.windows import attended_window, hold_window
from fastseek.structures.archive import load_npz
from fastseek.training import attention_crops
from fastseek.training.trainer import Trainer

CROPS = ["attended_crop(32, tries=10)", "hflip(0.5)"]


def file_of(cfg, number):
    return pathlib.Path(cfg.OUTPUT_DIR) / "attention" / f"epoch_{number:04d}.npz"


def trained(cfg, resume=False, step=None):
    """Train; returns the trainer, which has kept every batch by its step, and the windows it was
    cut by.
    """

    class Watched(Trainer):
        def run_step(self):
            if step is not None:
                step(self)
            super().run_step()

    trainer = Watched(cfg)
    trainer.batches, trainer.cut, trainer.hashes = {}, {}, {}
    forward = trainer._trainer._forward

    def kept(batch):
        part = trainer._trainer.data_loader.images.transform.parts[0]
        trainer.batches[trainer.iter] = batch["images"].clone()
        trainer.cut[trainer.iter] = part.windows
        return forward(batch)

    trainer._trainer._forward = kept
    after = trainer.after_epoch

    def noted():
        after()
        trainer.hashes[trainer.epoch] = embedding.weights_hash(trainer.model, classes=True)

    trainer.after_epoch = noted
    trainer.resume_or_load(resume)
    trainer.train()
    return trainer


@pytest.fixture
def cropped(recipe_of, tmp_path):
    def make(**changes):
        return recipe_of(
            **{"SEEK__TRAIN": CROPS, "SOLVER__MAX_EPOCH": 3, "SOLVER__BASE_LR": 0.03, **changes}
        )

    return make


def test_an_epoch_is_cut_by_the_weights_at_the_end_of_the_one_before(cropped):
    """finegrained row 60, row 62: the first epoch is cut plainly, later ones by windows named by an
    earlier epoch.
    """
    cfg = cropped()
    trainer = trained(cfg)
    assert all(trainer.cut[step] is None for step in range(3))
    for epoch in (1, 2):
        arrays, provenance = load_npz(file_of(cfg, epoch - 1), ["windows"])
        assert (
            provenance["epoch"] == epoch - 1 and provenance["weights"] == trainer.hashes[epoch - 1]
        )
        assert all(
            np.array_equal(trainer.cut[step], arrays["windows"])
            for step in range(3 * epoch, 3 * epoch + 3)
        )
    assert not file_of(cfg, 2).exists(), "no epoch follows, so nobody looks"
    first, second = (load_npz(file_of(cfg, number), ["windows"])[0]["windows"] for number in (0, 1))
    assert not np.array_equal(first, second)


def test_the_windows_lie_inside_the_photos_and_are_the_ones_that_hold_most(cropped, monkeypatch):
    """finegrained row 60, row 61: on the same draws ten tries never hold less than one."""
    looked = []
    whole = attention_crops.AttentionCrops._measure_maps
    monkeypatch.setattr(
        attention_crops.AttentionCrops,
        "_measure_maps",
        lambda self: looked.append(whole(self)) or looked[-1],
    )
    cfg = cropped(SOLVER__MAX_EPOCH=2)
    trainer = trained(cfg)
    windows = trainer.cut[3]
    rows, heat, grid = looked[0]
    assert len(windows) == 36 == len(rows) and (windows >= 0).all() and (windows <= 1).all()
    assert (windows[:, :2] < windows[:, 2:]).all()
    left, top, right, bottom = windows.T
    area = (right - left) * (bottom - top)
    assert (area > 0.39).all() and (area <= 1).all()
    for row, one in zip(rows.tolist(), heat, strict=True):
        mask = above(one.reshape(grid))
        random = np.random.default_rng([cfg.SEED, 0, row])
        single = attended_window(
            mask,
            random,
            1,
            (0.4, 1.0),
            shape=shape_of(trainer._trainer.data_loader.dataset.items[row].path),
        )
        chosen = (top[row], left[row], bottom[row], right[row])
        assert hold_window(mask, [chosen])[0] >= hold_window(mask, [single])[0] - 1e-5


def test_looking_every_second_epoch_uses_windows_twice(cropped):
    cfg = cropped(SOLVER__MAX_EPOCH=4, SEEK__TRAIN=["attended_crop(32, every=2)"])
    trainer = trained(cfg)
    assert [file_of(cfg, number).exists() for number in range(4)] == [False, True, False, False]
    assert trainer.cut[5] is None and np.array_equal(trainer.cut[6], trainer.cut[11])


@pytest.mark.parametrize("step", [3, 4])
def test_a_killed_run_goes_on_with_the_same_batches(cropped, tmp_path, forked, step):
    """finegrained row 62: killed at the start of an epoch and within one."""
    whole = trained(cropped(OUTPUT_DIR=str(tmp_path / "whole")))
    cfg = cropped(SEEK__CHECKPOINT_MINUTES=1e-9)

    def die(trainer):
        if trainer.iter == step:
            os.kill(os.getpid(), signal.SIGKILL)

    assert forked(lambda: trained(cfg, step=die)) == -signal.SIGKILL
    resumed = trained(cfg, resume=True)
    assert resumed.start_step == step and set(resumed.batches) == set(range(step, 9))
    assert all(
        torch.equal(batch, whole.batches[number]) for number, batch in resumed.batches.items()
    )
    assert resumed.hashes[2] == whole.hashes[2]


def stopped(cfg, step):
    def ask(trainer):
        if trainer.iter == step:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Exception, match="stopped by SIGTERM"):
        trained(cfg, step=ask)


def test_lost_windows_are_made_anew_where_an_epoch_begins_and_never_within_one(cropped, tmp_path):
    """finegrained row 62: weights of later than the epoch before are never looked with."""
    whole = trained(cropped(OUTPUT_DIR=str(tmp_path / "whole")))
    cfg = cropped()
    stopped(cfg, 4)
    kept = file_of(cfg, 0).read_bytes()
    file_of(cfg, 0).unlink()
    with pytest.raises(ArtefactError, match="epoch_0000.npz.*cannot be made anew"):
        trained(cfg, resume=True)
    file_of(cfg, 0).write_bytes(kept[:100])
    with pytest.raises(ArtefactError, match="damaged"):
        trained(cfg, resume=True)
    file_of(cfg, 0).write_bytes(kept)
    resumed = trained(cfg, resume=True)
    assert resumed.start_step == 5 and torch.equal(resumed.batches[5], whole.batches[5])


def test_windows_left_by_another_run_in_the_folder_are_not_used(cropped):
    cfg = cropped(SOLVER__MAX_EPOCH=2)
    trained(cfg)
    before = load_npz(file_of(cfg, 0), ["windows"])[1]
    other = trained(cropped(SOLVER__MAX_EPOCH=2, SOLVER__BASE_LR=0.01))
    after = load_npz(file_of(cfg, 0), ["windows"])[1]
    assert after["weights"] == other.hashes[0] != before["weights"]


def test_workers_that_read_ahead_do_not_keep_old_windows(cropped, tmp_path):
    alone = trained(cropped(OUTPUT_DIR=str(tmp_path / "alone"), SOLVER__MAX_EPOCH=2))
    many = trained(cropped(SOLVER__MAX_EPOCH=2, DATALOADER__NUM_WORKERS=2))
    assert all(torch.equal(batch, many.batches[step]) for step, batch in alone.batches.items())


def test_a_photo_that_cannot_be_read_has_no_window(photos, cropped, tmp_path):
    mine = tmp_path / "mine"
    shutil.copytree(photos, mine)
    (mine / "train" / "class_00" / "0000.jpg").write_bytes(b"no photo")
    trainer = trained(cropped(DATASETS__NAMES=(f"folder('{mine}')",), SOLVER__MAX_EPOCH=2))
    assert np.flatnonzero(np.isnan(trainer.cut[3]).any(axis=1)).tolist() == [0]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"SEEK__TRAIN": ["hflip(0.5)", "attended_crop(32)"]}, "before it nothing but resize"),
        ({"SEEK__TRAIN": ["attended_crop(32)", "attended_crop(32)"]}, "must stand once"),
        ({"SEEK__TRAIN": ["attended_crop(32, on='s9')"]}, "the backbone gives s4"),
    ],
)
def test_what_cannot_follow_attention_is_refused_before_anything_starts(cropped, changes, told):
    with pytest.raises(UsageError, match=told):
        Trainer(cropped(**changes))


def test_the_shape_of_a_photo_is_that_of_its_upright_pixels(tmp_path):
    image, exif = Image.new("RGB", (30, 20)), Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "turned.jpg", exif=exif)
    image.save(tmp_path / "plain.jpg")
    assert shape_of(tmp_path / "plain.jpg") == 1.5 and shape_of(
        tmp_path / "turned.jpg"
    ) == pytest.approx(2 / 3)
    assert shape_of(tmp_path / "absent.jpg") == 1
