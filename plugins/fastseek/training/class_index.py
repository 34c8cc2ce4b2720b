"""The file that tells a model its classes, and what changed between a run and its checkpoint."""

from __future__ import annotations

import hashlib
import pathlib
from typing import Any

from ..config.keys import OLD_KEYS, OURS
from ..errors import ArtefactError
from ..io.json_files import write_json
from ..io.paths import PathLike
from ..io.yaml_lines import parse_written

from fastreid.utils import comm

NEW_FOLDER = "start in a new OUTPUT_DIR with MODEL.WEIGHTS set to the weights of this run"
OTHER_CLASSES = (
    f"the checkpoint was trained on other classes than DATASETS.NAMES has now: {NEW_FOLDER}"
)


def write_classes(path: PathLike, dataset: Any) -> None:
    """Write {"labels": [...], "counts": [...]} from rank 0: the training classes in the order of
    the targets.

    Args:
        path: the JSON file.
        dataset: the training set; has `classes` and `counts`.
    """
    if comm.is_main_process():
        write_json(
            path,
            {"labels": list(dataset.classes), "counts": [int(count) for count in dataset.counts]},
        )
    comm.synchronize()


def digest(path: PathLike) -> str:
    """SHA-256 of a classes file."""
    return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()


def check_same_data(state: dict[str, Any], classes: str, iters_per_epoch: int, epochs: int) -> None:
    """A run goes on only with the classes and the steps an epoch it had, and to an end before it.

    Args:
        state: of the checkpoint.
        classes: digest of the classes file.
        iters_per_epoch, epochs: of the training there shall be.

    Raises:
        ArtefactError: it cannot.
    """
    if state["classes"] != classes:
        raise ArtefactError(OTHER_CLASSES)
    check_steps(state, iters_per_epoch)
    check_length(state, epochs)


def check_steps(state: dict[str, Any], iters_per_epoch: int) -> None:
    """A run goes on only with the steps an epoch it had.

    Raises:
        ArtefactError: they are others.
    """
    if state["iters_per_epoch"] != iters_per_epoch:
        raise ArtefactError(
            f"the checkpoint is of a run with {state['iters_per_epoch']} steps an epoch, now there"
            f" are {iters_per_epoch} (other images or another SOLVER.IMS_PER_BATCH): {NEW_FOLDER}"
        )


def check_length(state: dict[str, Any], epochs: int) -> None:
    """A run does not go on to an end that lies behind it: its recipe would tell of fewer epochs
    than its weights have seen.

    Raises:
        ArtefactError: it does.
    """
    steps = epochs * state["iters_per_epoch"]
    if state["step"] > steps:
        raise ArtefactError(
            f"the run has {state['step']} steps behind it, and a training of {epochs} epochs has"
            f" {steps}: raise SOLVER.MAX_EPOCH (and SEEK.STOP_AT), or {NEW_FOLDER}"
        )


def check_can_follow(old: str, new: str, moved_schedules: bool) -> None:
    """A run goes on under another recipe only where the optimizer and the schedules can follow.

    Args:
        old, new: the recipes, as YAML.
        moved_schedules: the schedules are a subclass's own and come from the checkpoint, so that
            they still have the old end of the training.

    Raises:
        ArtefactError: they cannot; names the setting.
    """
    before, after = (_flat(parse_written(text)) for text in (old, new))
    fixed = ["SOLVER.OPT", *(["SOLVER.MAX_EPOCH"] if moved_schedules else [])]
    for key in fixed:
        if before.get(key) != after.get(key):
            raise ArtefactError(
                f"{key} {before.get(key)} -> {after.get(key)}: the run cannot go on with it. Resume"
                f" with {key} {before.get(key)}, or {NEW_FOLDER}"
            )
    if before.get("SEEK.EMA") and not after.get("SEEK.EMA"):
        raise ArtefactError(
            f"SEEK.EMA {before['SEEK.EMA']} -> 0: the weights of the checkpoint are the average."
            f" Resume with SEEK.EMA {before['SEEK.EMA']}, or {NEW_FOLDER}"
        )


def changed_settings(old: str, new: str) -> list[str]:
    """The settings in which two dumped recipes differ, as "KEY: old -> new".

    A key of ours that the older recipe does not have yet had its default then.
    """
    before, after = (_flat(parse_written(text)) for text in (old, new))
    before = {OLD_KEYS.get(key, key): value for key, value in before.items()}
    before = {key.name: key.default for key in OURS if key.name in after} | before
    return [
        f"{key}: {before.get(key)} -> {after.get(key)}"
        for key in sorted({*before, *after})
        if before.get(key) != after.get(key)
    ]


def _flat(node: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(node, dict):
        return {prefix: node}
    return {
        name: value
        for key, child in node.items()
        for name, value in _flat(child, f"{prefix}.{key}" if prefix else str(key)).items()
    }
