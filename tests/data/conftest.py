"""A recipe on the toy gallery."""

import pytest

import toy
from fastseek import compat  # noqa: F401
from fastseek.config.keys import add_seek_config

from fastreid.config import get_cfg


@pytest.fixture(scope="session")
def toy_root(tmp_path_factory):
    """Eight classes: six train, two query and six gallery images each, 32 pixels."""
    return toy.gallery(tmp_path_factory.mktemp("toy"), size=32)


@pytest.fixture
def cfg(toy_root, tmp_path):
    """A small recipe on it, read in the main process."""
    cfg = get_cfg()
    add_seek_config(cfg)
    cfg.DATASETS.NAMES = (f"folder({str(toy_root)!r})",)
    cfg.OUTPUT_DIR = str(tmp_path / "out")
    cfg.DATALOADER.NUM_WORKERS = 0
    cfg.SOLVER.IMS_PER_BATCH = 8
    cfg.TEST.IMS_PER_BATCH = 10
    cfg.SEEK.TRAIN = ["resize(24)", "hflip(0.5)", "cutout(0.4, p=0.5)"]
    cfg.SEEK.TEST = ["resize(24)"]
    return cfg
