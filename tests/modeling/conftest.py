"""Seeds, a small config and a small batch for the tests of the models."""

from __future__ import annotations

import json

import pytest
import torch

from fastseek import compat  # noqa: F401  (before fastreid)
from fastseek.config.keys import add_seek_config

from fastreid.config import get_cfg


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.fixture
def config():
    """A function: keys and values -> a fast-reid config of a small Seeker on the CPU."""

    def make(*changes):
        cfg = get_cfg()
        add_seek_config(cfg)
        cfg.merge_from_list(
            [
                "MODEL.DEVICE",
                "cpu",
                "MODEL.META_ARCHITECTURE",
                "Seeker",
                "MODEL.HEADS.NUM_CLASSES",
                4,
                "SEEK.BACKBONE",
                "timm('test_efficientnet')",
                "SEEK.BRANCHES",
                ["gem(dim=8)"],
                "SEEK.LOSSES",
                ["cross_entropy('gem')"],
                *changes,
            ]
        )
        return cfg

    return make


@pytest.fixture
def batch():
    """Four photos of three classes, as the loader gives them."""
    images = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 255
    return {
        "images": images,
        "targets": torch.tensor([0, 1, 1, 3]),
        "camids": torch.zeros(4, dtype=torch.int64),
        "img_paths": ["a", "b", "c", "d"],
        "ids": ["a", "b", "c", "d"],
    }


@pytest.fixture
def classes(tmp_path):
    """A function: counts -> path of a SEEK.CLASSES file."""

    def write(counts):
        path = tmp_path / "classes.json"
        path.write_text(
            json.dumps({"labels": [f"class {n}" for n in range(len(counts))], "counts": counts})
        )
        return str(path)

    return write
