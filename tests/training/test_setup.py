import logging
import pathlib

import pytest

from fastseek.config import recipe
from fastseek.errors import UsageError
from fastseek.io.code_version import current_commit
from fastseek.modeling.build import build_model
from fastseek.training import run_setup
from fastseek.training.trainer import Trainer


def test_a_drawn_seed_is_written_down_and_kept_by_a_resumed_run(recipe_of):
    cfg = run_setup.setup(recipe_of(SEED=-1, SOLVER__MAX_EPOCH=1))
    assert cfg.SEED >= 0 and cfg.is_frozen()
    Trainer(cfg).train()
    assert run_setup.setup(recipe_of(SEED=-1), resume=True).SEED == cfg.SEED
    assert run_setup.setup(recipe_of(SEED=-1)).SEED != cfg.SEED


def test_the_written_config_is_a_recipe_of_the_same_run(recipe_of, tmp_path):
    trainer = Trainer(run_setup.setup(recipe_of()))
    again = recipe.load(pathlib.Path(trainer.cfg.OUTPUT_DIR) / "config.yaml")
    assert again == trainer.cfg


def test_a_config_with_one_data_set_for_training_and_test_can_be_read_again(recipe_of, tests_on):
    """`run --data` names one tuple twice, which yacs writes as an alias."""
    cfg = recipe_of()
    cfg.defrost()
    cfg.DATASETS.NAMES = cfg.DATASETS.TESTS = tests_on
    cfg.freeze()
    run_setup.save_config(cfg)
    again = recipe.load(pathlib.Path(cfg.OUTPUT_DIR) / "config.yaml")
    assert again == cfg


def test_an_evaluation_leaves_the_config_of_the_training(recipe_of):
    cfg = run_setup.setup(recipe_of())
    path = pathlib.Path(cfg.OUTPUT_DIR) / "config.yaml"
    before = path.read_text()
    run_setup.setup(recipe_of(SOLVER__BASE_LR=0.7), eval_only=True)
    assert path.read_text() == before


def test_without_cuda_the_run_goes_to_the_cpu_and_says_so(monkeypatch, recipe_of):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    cfg = run_setup.setup(recipe_of(MODEL__DEVICE="cuda"))
    assert cfg.MODEL.DEVICE == "cpu"
    assert "no CUDA" in (pathlib.Path(cfg.OUTPUT_DIR) / "log.txt").read_text()


def test_the_log_of_a_run_is_its_own(recipe_of, tmp_path):
    for name in ("a", "b"):
        run_setup.start_log(str(tmp_path / name))
        logging.getLogger("fastreid.fastseek").info("for %s", name)
    assert "for a" in (tmp_path / "a" / "log.txt").read_text()
    assert "for a" not in (tmp_path / "b" / "log.txt").read_text()
    assert "for b" not in (tmp_path / "a" / "log.txt").read_text()


def test_a_folder_that_cannot_be_written_is_a_wrong_recipe(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        run_setup.start_log(str(tmp_path / "file" / "out"))


def test_a_depth_the_backbone_does_not_have_is_a_wrong_recipe(recipe_of):
    cfg = recipe_of(
        MODEL__META_ARCHITECTURE="Baseline",
        SEEK__BACKBONE="",
        MODEL__BACKBONE__DEPTH="18y",
        MODEL__BACKBONE__NAME="build_resnet_backbone",
        MODEL__HEADS__NUM_CLASSES=6,
    )
    with pytest.raises(UsageError, match="DEPTH is '18y': build_resnet_backbone has no such depth"):
        build_model(cfg)


def test_a_checkout_tells_its_commit_and_no_git_is_no_error(monkeypatch):
    assert current_commit() == "" or len(current_commit()) == 40
    monkeypatch.setenv("PATH", "")
    assert current_commit() == ""
