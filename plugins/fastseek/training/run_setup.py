"""Before a run: the log, the folder, the device, the seed and the lines that say what it ran on."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import logging
import pathlib
import platform
import sys
from collections.abc import Mapping
from typing import Any

import torch
import yaml

from .. import __version__
from ..config.edits import replace_values
from ..distributed.device import device
from ..errors import UsageError
from ..io.atomic import atomic
from ..io.code_version import current_commit
from ..progress import tell
from . import checkpoint_manifest, random_state

from fastreid.utils import comm
from fastreid.utils.logger import setup_logger

logger = logging.getLogger("fastreid.fastseek")


def setup(cfg: Any, resume: bool = False, eval_only: bool = False) -> Any:
    """Make everything ready for a run.

    Args:
        cfg: the recipe.
        resume: an earlier run in OUTPUT_DIR goes on; with SEED -1 it keeps the seed it drew.
        eval_only: nothing will be trained; a config.yaml that is there is kept.

    Returns:
        the recipe of this run, frozen: the device there is, the seed that was drawn. Written to
            OUTPUT_DIR/config.yaml.

    Raises:
        UsageError: no OUTPUT_DIR, or it cannot be written.
    """
    start_log(cfg.OUTPUT_DIR)
    seed = random_state.draw_seed(_earlier_seed(cfg) if resume else cfg.SEED)
    cfg = replace_values(cfg, {"MODEL.DEVICE": device(cfg.MODEL.DEVICE), "SEED": seed})
    random_state.seed_all(cfg.SEED)
    if not eval_only:
        torch.backends.cudnn.benchmark = cfg.CUDNN_BENCHMARK
    for line in environment(cfg):
        logger.info(line)
    save_config(cfg, keep=eval_only)
    return cfg


def _earlier_seed(cfg: Any) -> int:
    found = checkpoint_manifest.newest_first(pathlib.Path(cfg.OUTPUT_DIR))
    return int(found[0][1].get("seed", -1)) if cfg.SEED < 0 and found else cfg.SEED


def start_log(output: str) -> None:
    """Log to the screen (rank 0) and to OUTPUT_DIR/log.txt.

    Raises:
        UsageError: the folder cannot be written.
    """
    if not output:
        raise UsageError("OUTPUT_DIR is empty: say where checkpoints, logs and results go")
    try:
        pathlib.Path(output).mkdir(parents=True, exist_ok=True)
        for name in ("fastreid", "fastseek"):
            _log_to(output, logging.getLogger(name))
    except OSError as error:
        raise UsageError(f"OUTPUT_DIR {output} cannot be written: {error}") from error


def _log_to(output: str, log: logging.Logger) -> None:
    if getattr(log, "output", None) != output:
        log.handlers.clear()  # of an earlier run in this process
        setup_logger.cache_clear()
        setup_logger(output, distributed_rank=comm.get_rank(), name=log.name)
        log.setLevel(logging.INFO)  # fast-reid takes DEBUG, where parts tell of every single image
        log.output = output  # type: ignore[attr-defined]
        for handler in log.handlers:
            handler.handleError = _FailureTold(output)  # type: ignore[method-assign]


class _FailureTold:
    """What a log does that cannot be written, say because the disk is full: one line, once.

    logging itself prints a traceback for every record.
    """

    def __init__(self, output: str) -> None:
        self._output, self._done = output, False

    def __call__(self, record: logging.LogRecord) -> None:
        if not self._done:
            self._done = True
            tell(f"the log in {self._output} cannot be written ({sys.exc_info()[1]})")


def environment(cfg: Any) -> list[str]:
    """Lines that say what a run ran on."""
    names = ("fastreid", "torchvision", "timm", "numpy", "Pillow")
    versions = [
        f"fastseek {__version__} ({current_commit() or 'no git commit'})",
        f"torch {torch.__version__}",
    ]
    versions += [f"{name} {_version(name)}" for name in names]
    where = cfg.MODEL.DEVICE
    if where.startswith("cuda"):
        where = f"{torch.cuda.get_device_name()} (CUDA {torch.version.cuda})"
    return [
        f"Python {platform.python_version()} on {platform.platform()}: {', '.join(versions)}",
        (
            f"process {comm.get_rank() + 1} of {comm.get_world_size()} on {where},"
            f" {torch.get_num_threads()} threads, seed {cfg.SEED}"
        ),
    ]


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "from a folder" if importlib.util.find_spec(name) else "missing"


def save_config(cfg: Any, keep: bool = False) -> None:
    """Write OUTPUT_DIR/config.yaml from rank 0, whole; `keep` leaves one that is there."""
    path = pathlib.Path(cfg.OUTPUT_DIR) / "config.yaml"
    if comm.is_main_process() and not (keep and path.exists()):
        with atomic(path, "w") as file:
            file.write(recipe_text(cfg))


def recipe_text(cfg: Any) -> str:
    """A recipe as YAML that `recipe.load` reads.

    Where two keys hold one list, yacs would write an alias, which recipes may not hold.
    """
    return yaml.dump(_mappings(cfg), Dumper=_WithoutAliases)


def _mappings(node: Mapping[str, Any]) -> dict[str, Any]:
    """Nested plain mappings: YAML knows no CfgNode."""
    return {
        key: _mappings(value) if isinstance(value, Mapping) else value
        for key, value in node.items()
    }


# libyaml writes the same text in a fourth of the time, at every checkpoint.
class _WithoutAliases(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
    def ignore_aliases(self, data: Any) -> bool:
        return True
