"""The door for fast-reid: our config keys, and our parts in fast-reid's own registries."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

from ..registry import import_parts
from .keys import add_seek_config

# What stands in fast-reid's registries has to be imported; our own registries load by themselves.
MODULES = ("data.fastreid_datasets", "modeling.backbones.build_timm_backbone", "modeling.seeker")
PACKAGE = __package__.partition(".")[0]


def default_config() -> Any:
    """A config of fast-reid's defaults and ours; of ours alone where fast-reid is not installed."""
    if importlib.util.find_spec("fastreid") is None:
        from fvcore.common.config import CfgNode

        cfg = CfgNode()
        add_seek_config(cfg)
        return cfg
    from .. import compat  # noqa: F401  (before anything that imports fastreid)

    from fastreid.config import get_cfg

    cfg = get_cfg()
    register(cfg)
    return cfg


def register(cfg: Any) -> None:
    """Add our keys to a fast-reid config and put our parts into fast-reid's registries.

    Args:
        cfg: a fast-reid CfgNode; gets `PLUGINS`, `SEED` and `SEEK`, in place.

    Raises:
        UsageError: fast-reid is not installed; says which command installs it.
    """
    add_seek_config(cfg)
    for module in MODULES:
        importlib.import_module(f"{PACKAGE}.{module}")
    import_parts(f"{PACKAGE}.modeling.heads")
