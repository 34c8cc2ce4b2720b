"""FastSeek: instance-level image retrieval on top of fast-reid; `register(cfg)` is its one door for
fast-reid.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

PARTS = (
    "data.datasets",
    "data.transforms",
    "data.samplers",
    "data.crops",
    "data.bridge",
    "modeling.backbones",
    "modeling.blocks",
    "modeling.branches",
    "modeling.heads",
    "modeling.losses",
    "modeling.seeker",
    "views",
    "enhance",
    "search",
    "rerank",
    "fuse",
    "metrics",
    "classify",
    "schedules",
)


def register(cfg: Any) -> None:
    """Add our keys to a fast-reid config and put every part into its registry.

    Args:
        cfg: a fast-reid CfgNode; gets `PLUGINS`, `SEED` and `SEEK`.

    Raises:
        UsageError: fast-reid is not installed; says which command installs it.
    """
    from . import compat  # noqa: F401  (before anything that imports fastreid)
    from .config import add_seek_config

    add_seek_config(cfg)
    for part in PARTS:
        importlib.import_module(f"{__name__}.{part}")
