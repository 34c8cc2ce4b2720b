"""A small gallery, a small model, and recipes of both, for every test that trains."""

import functools
import os

import pytest
import torch

import processes
import toy
from fastseek import register

SEEKER = {
    "MODEL.META_ARCHITECTURE": "Seeker",
    "MODEL.DEVICE": "cpu",
    "SEEK.BACKBONE": "timm(name='test_efficientnet', stages=(4,), drop_path=0.1)",
    "SEEK.BRANCHES": ["gem(dim=32)"],
    "SEEK.LOSSES": ["cross_entropy(on='gem')"],
    "SEEK.TRAIN": ["resize(32)", "hflip(0.5)"],
    "SEEK.TEST": ["resize(32)"],
    "SEEK.METRICS": ["recall(1)", "map(10)"],
    "SOLVER.IMS_PER_BATCH": 12,
    "SOLVER.MAX_EPOCH": 2,
    "SOLVER.BASE_LR": 0.003,
    "SOLVER.WARMUP_ITERS": 2,
    "SOLVER.CHECKPOINT_PERIOD": 1,
    "DATALOADER.NUM_WORKERS": 0,
    "TEST.EVAL_PERIOD": 0,
    "DATASETS.TESTS": (),
}


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    """6 classes: 36 training photos, 6 queries, 36 gallery photos."""
    return toy.gallery(tmp_path_factory.mktemp("toy"), classes=6, train=6, query=1, size=40)


@pytest.fixture
def recipe_of(photos, tmp_path):
    """recipe_of(SOLVER__MAX_EPOCH=3) -> a frozen config that trains on the small gallery into
    tmp_path/out.
    """
    return functools.partial(toy_recipe, photos, tmp_path / "out")


def toy_recipe(photos, out, **changes):
    """A frozen config that trains on a small gallery into a folder; SOLVER__MAX_EPOCH=3 changes it."""
    from fastreid.config import get_cfg

    cfg = get_cfg()
    register(cfg)
    keys = {**SEEKER, "DATASETS.NAMES": (f"folder('{photos}')",), "OUTPUT_DIR": str(out)}
    keys |= {key.replace("__", "."): value for key, value in changes.items()}
    cfg.merge_from_list([part for pair in keys.items() for part in pair])
    cfg.freeze()
    return cfg


@pytest.fixture
def tests_on(photos):
    """DATASETS.TESTS of the small gallery."""
    return (f"folder('{photos}')",)


@pytest.fixture
def launch_forks(monkeypatch):
    """`launch` forks this process, where it would start Python and import torch in each of its own."""
    from fastseek.distributed import launch

    monkeypatch.setattr(launch.mp, "start_processes", processes.forking(launch.mp.start_processes))


def in_child(work):
    """Run `work` in a forked process and return how that ended (negative: the signal that killed
    it).
    """
    child = os.fork()
    if not child:
        try:
            work()
            os._exit(0)
        except BaseException:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.fixture
def forked():
    """forked(work) -> exit code of `work` in a process of its own."""
    return in_child
