"""Whether the run in a folder can go on with a recipe, asked before any of its files is touched."""

from __future__ import annotations

import logging
import pathlib
from typing import Any

import torch

from ..config.solver_values import phase_epochs
from ..data.builders import training_items
from ..data.label_index import TrainSet
from ..distributed import process_group
from ..errors import ArtefactError, FastSeekError
from ..structures.class_file import ClassFile, read_class_file
from . import checkpoint_manifest
from .class_index import OTHER_CLASSES, check_can_follow, check_length, check_steps
from .data_fingerprint import check_same_images, fingerprint
from .run_setup import recipe_text

from fastreid.utils import comm

logger = logging.getLogger("fastreid.fastseek")


def check_can_go_on(cfg: Any) -> None:
    """Compare a recipe and its images with the newest checkpoint in OUTPUT_DIR, if there is one.

    The trainer compares them too, but then config.yaml and classes.json are the new recipe's.

    Args:
        cfg: the recipe.

    Raises:
        ArtefactError: the run cannot go on: other images, classes or steps an epoch, another
            optimizer, or fewer epochs than it has behind it. The same in every process.
        DataError: the images cannot be found.
    """
    found = process_group.share(_find_fault(cfg) if comm.is_main_process() else None)
    if found is not None:
        raise found


def _find_fault(cfg: Any) -> FastSeekError | None:
    state = _newest_state(pathlib.Path(cfg.OUTPUT_DIR))
    if not state:
        return None
    try:
        _compare(cfg, state)
    except FastSeekError as error:
        return error
    return None


def _compare(cfg: Any, state: dict[str, Any]) -> None:
    check_length(state, phase_epochs(cfg))
    check_can_follow(state["config"], recipe_text(cfg), moved_schedules=False)
    dataset = TrainSet(training_items(cfg))
    classes = pathlib.Path(cfg.OUTPUT_DIR) / "classes.json"
    ours = ClassFile(list(dataset.classes), [int(count) for count in dataset.counts])
    if classes.is_file() and read_class_file(classes) != ours:
        raise ArtefactError(OTHER_CLASSES)
    check_steps(state, len(dataset) // cfg.SOLVER.IMS_PER_BATCH)
    check_same_images(state.get("data"), fingerprint(dataset.items))


def _newest_state(folder: pathlib.Path) -> dict[str, Any]:
    """What the newest checkpoint that can be read says of its run, without its tensors; {} where
    there is none.
    """
    for name, _ in checkpoint_manifest.newest_first(folder):
        path = folder / f"{name}{checkpoint_manifest.STATE}"
        try:
            found = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except Exception as error:  # a damaged one is told when it is loaded
            logger.debug("%s cannot be read (%s)", path, error)
            continue
        if isinstance(found, dict) and "iters_per_epoch" in found:
            return found
    return {}
