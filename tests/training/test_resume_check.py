"""A run that cannot go on is refused before any of its files is touched."""

import pathlib
import shutil

import pytest

import toy
from fastseek.config.keys import OURS
from fastseek.errors import ArtefactError
from fastseek.training.class_index import changed_settings, check_length
from fastseek.training.resume_check import check_can_go_on
from fastseek.training.run_setup import recipe_text, setup
from fastseek.training.trainer import Trainer

SHORT = {"SEEK__BACKBONE": "timm(name='mobilenetv2_035', stages=(4,))", "SOLVER__MAX_EPOCH": 1}


@pytest.fixture
def finished(recipe_of):
    cfg = setup(recipe_of(**SHORT))
    Trainer(cfg).train()
    return pathlib.Path(cfg.OUTPUT_DIR)


def _content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if "log" not in path.name}


def test_the_same_recipe_and_images_and_more_epochs_go_on(finished, recipe_of):
    check_can_go_on(recipe_of(**SHORT))
    check_can_go_on(recipe_of(**SHORT | {"SOLVER__MAX_EPOCH": 3}))


def test_other_images_classes_batches_optimizers_and_too_few_epochs_are_refused(
    finished, recipe_of, photos, tmp_path
):
    before = _content(finished)
    fewer = toy.gallery(tmp_path / "few", classes=5, train=6, query=1, size=40)
    other = tmp_path / "other"
    shutil.copytree(photos, other)
    changed = sorted(other.rglob("train/*/*.jpg"))
    shutil.copyfile(changed[0], changed[-1])
    for told, changes in {
        "other classes": {"DATASETS__NAMES": (f"folder('{fewer}')",)},
        "steps an epoch": {"SOLVER__IMS_PER_BATCH": 6},
        "what is in their files": {"DATASETS__NAMES": (f"folder('{other}')",)},
        "SOLVER.OPT": {"SOLVER__OPT": "SGD"},
    }.items():
        with pytest.raises(ArtefactError, match=told):
            check_can_go_on(recipe_of(**SHORT | changes))
    assert _content(finished) == before


def test_an_end_behind_the_run_is_refused():
    state = {"step": 24, "iters_per_epoch": 3}
    check_length(state, 8)
    with pytest.raises(ArtefactError, match=r"24 steps behind it.*4 epochs has 12"):
        check_length(state, 4)


def test_every_process_knows_the_fingerprint_so_that_all_refuse(recipe_of, monkeypatch):
    """One process alone that refuses leaves the others waiting for it."""
    monkeypatch.setattr("fastseek.training.data_fingerprint.comm.is_main_process", lambda: False)
    shared = {"count": 36, "of": "rank 0"}
    monkeypatch.setattr(
        "fastseek.training.data_fingerprint.process_group.share", lambda mine: shared
    )
    trainer = Trainer.__new__(Trainer)
    monkeypatch.setattr(Trainer, "auto_scale_hyperparams", staticmethod(_stop))
    with pytest.raises(StopIteration):
        trainer._build(recipe_of(**SHORT))
    assert trainer._data == shared


def _stop(cfg, classes):
    raise StopIteration


def test_a_key_that_came_later_is_no_change(recipe_of):
    cfg = recipe_of()
    old = "\n".join(
        line for line in recipe_text(cfg).splitlines() if "EVALUATOR" not in line
    ).replace("CLASS_METRICS", "FIGURES")
    assert "EVALUATOR" not in old and any(key.name == "SEEK.EVALUATOR" for key in OURS)
    assert changed_settings(old, recipe_text(cfg)) == []
    new = recipe_of(SEEK__EVALUATOR="reid()")
    assert changed_settings(old, recipe_text(new)) == ["SEEK.EVALUATOR:  -> reid()"]
