"""Recipes like another one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..registry import parse, unparse

FETCHED = ("weights", "pretrained")  # ends of the arguments' names


def replace_values(cfg: Any, values: Mapping[str, Any]) -> Any:
    """A recipe with other values, frozen.

    Args:
        cfg: any recipe; not changed.
        values: by dotted key, {"MODEL.DEVICE": "cpu"}; all keys must be there.

    Raises:
        KeyError: there is no such key.
    """
    made = cfg.clone()
    made.defrost()
    for key, value in values.items():
        *groups, last = key.split(".")
        node = made
        for name in groups:
            node = node[name]
        if last not in node:
            raise KeyError(key)
        node[last] = value
    made.freeze()
    return made


def without_pretrained(cfg: Any) -> Any:
    """The recipe, frozen, with a backbone that starts from chance: its weight file need not be
    there.

    Args:
        cfg: any recipe; not changed.
    """
    values = {"MODEL.BACKBONE.PRETRAIN": False, "MODEL.BACKBONE.PRETRAIN_PATH": ""}
    if cfg.SEEK.BACKBONE:
        name, args, kwargs = parse(cfg.SEEK.BACKBONE)
        kept = {key: value for key, value in kwargs.items() if not key.endswith(FETCHED)}
        values["SEEK.BACKBONE"] = unparse(name, args, kept)
    return replace_values(cfg, values)


def on_meta_device(cfg: Any) -> Any:
    """The recipe of a model of shapes alone, without values and classes."""
    bare = {"MODEL.DEVICE": "meta", "MODEL.HEADS.NUM_CLASSES": 0, "SEEK.CLASSES": ""}
    return replace_values(without_pretrained(cfg), bare)
