"""Folders of ablations as version 0.1 named them, so that what it has finished stays finished.

It named a folder by a digest over every key that did not begin with one of two lists. Those lists
are frozen here and serve nothing else; what keys mean today is said by `config.keys`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...config.keys import OURS, former_names
from ...config.nested import flatten

from fastreid.config import CfgNode

NOT_OF_TRAINING = (
    "OUTPUT_DIR",
    "TEST.",
    "DATALOADER.NUM_WORKERS",
    "MODEL.DEVICE",
    "SEEK.VIEWS",
    "SEEK.TEST",
    "SEEK.ENHANCE",
    "SEEK.SEARCH",
    "SEEK.RERANK",
    "SEEK.METRICS",
    "SEEK.FIGURES",
    "SEEK.VOTE",
    "SEEK.EXPECT",
    "SEEK.CHECKPOINT_MINUTES",
    "INPUT.SIZE_TEST",
    "SEEK.KEEP_CHECKPOINTS",
)
NOT_OF_ANSWER = (
    "SEEK.METRICS",
    "SEEK.FIGURES",
    "SEEK.EXPECT",
    "OUTPUT_DIR",
    "DATALOADER.NUM_WORKERS",
    "MODEL.DEVICE",
)
# All keys of ours that version 0.1 had, by their names then; fast-reid's are those of its release.
KEYS_THEN = frozenset(
    """PLUGINS SEED SEEK.BACKBONE SEEK.BLOCKS SEEK.BRANCHES SEEK.LOSSES SEEK.CLASSES SEEK.SCHEDULE
    SEEK.FREEZE SEEK.RATES SEEK.ACCUMULATE SEEK.STOP_AT SEEK.ON_NAN SEEK.DROP SEEK.FIT
    SEEK.HEAD.SUBCENTERS SEEK.HEAD.MARGIN SEEK.SAMPLER SEEK.TRAIN SEEK.TEST SEEK.CROPS SEEK.CACHE
    SEEK.VIEWS SEEK.FOREGROUND SEEK.ENHANCE SEEK.SEARCH SEEK.RERANK SEEK.METRICS SEEK.FIGURES
    SEEK.VOTE SEEK.EXPECT SEEK.ON_BAD SEEK.MAX_BAD SEEK.MAX_PIXELS SEEK.AMP_DTYPE
    SEEK.CHECKPOINT_MINUTES SEEK.KEEP_CHECKPOINTS""".split()
)


def former_inputs(
    cfg: CfgNode, images: str, plan: str
) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """What version 0.1 named the folders of a training and of an answer by.

    Args:
        cfg: the recipe.
        images: a digest of its images.
        plan: the text of the plan that trains it, "" for none.

    Returns:
        both as JSON values; None where it overlooked a key that shapes the model, or did not have
        one that the recipe sets.
    """
    keys = former_names(flatten(cfg))
    # A recipe that leaves later keys alone is one that version 0.1 may have run.
    later = {
        name: usual
        for name, usual in former_names({key.name: key.default for key in OURS}).items()
        if name not in KEYS_THEN
    }
    if cfg.TEST.PRECISE_BN.ENABLED or any(keys[key] != usual for key, usual in later.items()):
        return None
    keys = {key: value for key, value in keys.items() if key not in later}
    training = {"photos": images, "plan": plan, "trained by": _without(keys, NOT_OF_TRAINING)}
    return training, {**training, "keys": _without(keys, NOT_OF_ANSWER)}


def _without(keys: Mapping[str, Any], starts: tuple[str, ...]) -> dict[str, Any]:
    return {key: value for key, value in keys.items() if not key.startswith(starts)}
