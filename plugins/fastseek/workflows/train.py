"""What `tools/train_net.py` does: read the recipe, start the processes, train or evaluate, write
the results.
"""

from __future__ import annotations

import argparse
import logging
import pathlib
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from ..config import recipe
from ..config.edits import without_pretrained
from ..distributed.launch import launch
from ..distributed.run_lock import hold_run_folder
from ..errors import UsageError, advise_stopped
from ..modeling.weight_files import load_weights
from ..training import checkpoint_manifest, results
from ..training.resume_check import check_can_go_on
from ..training.run_setup import setup
from ..training.trainer import Trainer

from fastreid.utils import comm

logger = logging.getLogger("fastreid.fastseek")


def start(args: argparse.Namespace) -> None:
    """Run a parsed command line (`--config-file`, `--num-gpus`, `--resume`, `--eval-only`, … KEY
    VALUE).

    Raises:
        FastSeekError: see `errors`; the exit code of each is in its class.
    """
    cfg = recipe.load(args.config_file, args.opts)
    results.expectations(cfg.SEEK.EXPECT)
    with advise_stopped(lambda: _advise(cfg.OUTPUT_DIR)):
        launch(
            run,
            args.num_gpus,
            args.num_machines,
            args.machine_rank,
            args.dist_url,
            (args.config_file, list(args.opts), args.resume, args.eval_only, args.force),
            cfg.MODEL.DEVICE,
        )


def _advise(output: str) -> str:
    """How a training goes on that was stopped where it could not save, such as before its first
    step.
    """
    saved = checkpoint_manifest.newest_first(pathlib.Path(output))
    if not saved:
        return "nothing was trained yet: run the same command again"
    return f"{output} holds what was saved before: the same command with --resume goes on with it"


def run(
    config_file: str,
    opts: Sequence[str],
    resume: bool = False,
    eval_only: bool = False,
    force: bool = False,
) -> OrderedDict[str, Any]:
    """Train or evaluate in this process, which may be one of several.

    Args:
        config_file: the recipe.
        opts: KEY VALUE changes to it.
        resume: go on with the run in OUTPUT_DIR.
        eval_only: train nothing.
        force: train over a finished model in OUTPUT_DIR.

    Returns:
        the figures of the last evaluation; empty but on rank 0.

    Raises:
        UsageError: OUTPUT_DIR holds a finished model, and it is neither gone on with nor given up.
        RunError: the training failed, another run holds OUTPUT_DIR, or a figure is outside of what
            SEEK.EXPECT says.
    """
    cfg = recipe.load(config_file, opts)
    if eval_only:
        cfg = setup(cfg, resume, eval_only)
        return _is_finished(cfg, config_file, evaluate(cfg))
    with hold_run_folder(cfg.OUTPUT_DIR):  # from before anything is written there to the results
        refuse_finished(cfg.OUTPUT_DIR, resume, force)
        if resume:
            check_can_go_on(cfg)
        cfg = setup(cfg, resume)
        return _is_finished(cfg, config_file, train(cfg, resume))


def refuse_finished(output: str, resume: bool, force: bool) -> None:
    """A model that is trained to its end is not trained over by accident; nothing was touched yet.

    Args:
        output: the folder of the run.
        resume: an earlier run goes on.
        force: the model may be lost.

    Raises:
        UsageError: there is one, and neither was asked for.
    """
    finished = checkpoint_manifest.fault(pathlib.Path(output), "model_final") is None
    if finished and not (resume or force):
        raise UsageError(
            f"{output} holds a finished model, which a new training would replace: go on with it by"
            " --resume, name another folder with --out, or give it up by --force"
        )


def _is_finished(
    cfg: Any, config_file: str, found: OrderedDict[str, Any] | None
) -> OrderedDict[str, Any]:
    """Write the results and compare them with what was expected."""
    found = found or OrderedDict()
    if comm.is_main_process():
        results.write(cfg.OUTPUT_DIR, config_file, cfg.SEED, found)
        results.check(cfg.SEEK.EXPECT, found)
    return found


def train(cfg: Any, resume: bool) -> OrderedDict[str, Any] | None:
    """Train from the start or from where the run in OUTPUT_DIR stands."""
    trainer = Trainer(cfg)
    trainer.resume_or_load(resume)
    return trainer.train()


def evaluate(cfg: Any) -> OrderedDict[str, Any]:
    """Evaluate MODEL.WEIGHTS on DATASETS.TESTS.

    Raises:
        UsageError: there is no test set.
    """
    if not len(cfg.DATASETS.TESTS):
        raise UsageError("--eval-only with DATASETS.TESTS empty: there is nothing to evaluate")
    model = Trainer.build_model(without_pretrained(cfg) if cfg.MODEL.WEIGHTS else cfg)
    if cfg.MODEL.WEIGHTS:
        load_weights(model, cfg.MODEL.WEIGHTS)
    else:
        logger.warning("MODEL.WEIGHTS is empty: evaluating the model as its backbone brings it")
    return Trainer.test(cfg, model)
