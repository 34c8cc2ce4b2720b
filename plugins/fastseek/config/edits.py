"""A recipe whose model needs no pretrained weights, because it will get others."""

from __future__ import annotations

from typing import Any

from ..registry import parse, unparse

FETCHED = ("weights", "pretrained")  # ends of the arguments' names


def without_pretrained(cfg: Any) -> Any:
    """The recipe, frozen, with a backbone that starts from chance: its weight file need not be
    there.

    Args:
        cfg: any recipe; not changed.
    """
    made = cfg.clone()
    made.defrost()
    made.MODEL.BACKBONE.PRETRAIN, made.MODEL.BACKBONE.PRETRAIN_PATH = False, ""
    if cfg.SEEK.BACKBONE:
        name, args, kwargs = parse(cfg.SEEK.BACKBONE)
        kept = {key: value for key, value in kwargs.items() if not key.endswith(FETCHED)}
        made.SEEK.BACKBONE = unparse(name, args, kept)
    made.freeze()
    return made
