import base64
import hashlib
import importlib.metadata
import importlib.util
import os
import pathlib
import subprocess
import sys

import pytest

import processes

ROOT = pathlib.Path(__file__).parents[2]


def python(*args):
    env = {**os.environ, "PYTHONPATH": str(ROOT / "plugins"), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *args], capture_output=True, text=True, env=env, timeout=1800
    )


def test_fast_reid_imports_after_compat_and_not_without_it():
    parts = "import fastreid.data, fastreid.engine, fastreid.evaluation"
    assert python("-c", f"import fastseek.compat; {parts}; print('in')").stdout.strip() == "in"
    alone = python("-c", parts)
    assert alone.returncode == 1
    assert "ImportError" in alone.stderr or "ModuleNotFoundError" in alone.stderr


def test_no_file_of_fast_reid_is_changed():
    files = importlib.metadata.distribution("fastreid").files
    checked = 0
    for file in files:
        if file.hash is not None and file.suffix == ".py":
            digest = hashlib.new(file.hash.mode, pathlib.Path(file.locate()).read_bytes()).digest()
            assert base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == file.hash.value, file
            checked += 1
    assert checked > 100


def test_compat_gives_names_back_and_changes_none_that_is_there():
    code = """
import collections, collections.abc, torch
before = {(module.__name__, name): value for module in (collections, torch) for name, value in vars(module).items()}
import fastseek.compat
after = {(module.__name__, name): value for module in (collections, torch) for name, value in vars(module).items()}
assert all(after[key] is value for key, value in before.items() if key in after)
assert set(after) - set(before) <= {("collections", "Mapping"), ("torch", "_six")}, set(after) - set(before)
assert collections.Mapping is collections.abc.Mapping
"""
    done = python("-c", code)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "missing, command",
    [("fastreid", "pip install --no-deps fastreid==1.4.0"), ("faiss", "pip install faiss-cpu")],
)
def test_without_it_train_net_says_in_one_line_what_to_install(missing, command):
    recipe = ROOT / "configs" / "quick" / "dolg.yml"
    done = processes.run("train_net.py", "--config-file", recipe, forbidden=[missing])
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1 and command in done.stderr


SPAWNED = """
import sys
import fastseek
from fastseek import compat
from fastreid.config import get_cfg
from fastseek.data.builders import build_train_loader

if __name__ == "__main__":
    cfg = get_cfg()
    fastseek.register(cfg)
    cfg.merge_from_list(["DATASETS.NAMES", ("folder(%r)" % sys.argv[1],), "INPUT.SIZE_TRAIN", [32, 32],
                         "SOLVER.IMS_PER_BATCH", 4, "DATALOADER.NUM_WORKERS", 1, "OUTPUT_DIR", sys.argv[2]])
    batch = next(iter(build_train_loader(cfg, context="spawn")))
    print(tuple(batch["images"].shape))
"""


@pytest.mark.slow
def test_fast_reids_transforms_work_in_spawned_workers(tmp_path):
    import toy

    (tmp_path / "spawned.py").write_text(SPAWNED)
    gallery = toy.gallery(tmp_path / "toy", classes=2, train=4, query=1, size=32)
    done = processes.run(tmp_path / "spawned.py", gallery, tmp_path / "out")
    assert done.stdout.strip() == "(4, 3, 32, 32)", done.stderr


def test_the_seek_half_needs_neither_fast_reid_nor_torch():
    code = (
        "import sys; sys.modules['torch'] = None; sys.modules['fastreid'] = None; import fastseek,"
        " fastseek.structures, fastseek.registry, fastseek.search, fastseek.rerank,"
        " fastseek.metrics; print('in')"
    )
    done = python("-c", code)
    assert done.stdout.strip() == "in", done.stderr
