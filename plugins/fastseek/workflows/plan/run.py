"""Step-wise training: the steps of a plan one after the other, each finished once, a killed one
gone on with.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import gc
import hashlib
import logging
import pathlib
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import yaml

from ...config.keys import RUNS, tag_of
from ...config.nested import flatten
from ...config.plugins import register
from ...distributed import process_group
from ...distributed.launch import launch
from ...distributed.run_lock import hold_run_folder
from ...errors import DataError, RunError, UsageError
from ...io.atomic import atomic
from ...io.digests import sha256
from ...io.json_files import read_json, write_json
from ...io.paths import PathLike, locate
from ...training import checkpoint_manifest, results
from ...training.checkpoint import TAG
from ...training.class_index import changed_classes
from ...training.run_setup import setup, start_log
from ...training.trainer import Trainer
from .spec import NONE, TAKEN, Plan, PlanStep, configs, read_plan

from fastreid.config import CfgNode, get_cfg
from fastreid.utils import comm

logger = logging.getLogger("fastreid.fastseek")
BOOK, RECIPE, FORMAT = "plan.json", "recipe.yml", 1
Entry = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Trained:
    """What a plan has made.

    Args:
        weights: of its last step, at the end of its training.
        config: the recipe that goes with them, config.yaml.
    """

    weights: pathlib.Path
    config: pathlib.Path


def run_plan(file: PathLike, out: PathLike, opts: Sequence[Any] = ()) -> Trained:
    """Train the steps of a plan that are not trained yet, in this process, which may be one of
    several.

    Step S lies in `out`/S; `out`/plan.json tells of every step which recipe it had, which weights
    it came from and which it made. A finished step is left alone, one that was stopped goes on.
    Where recipe or origin have changed, the old folder gets another name, and the step and those
    that come from it are trained anew; that is told.

    Args:
        file: the plan, see `plan_file.read_plan`.
        out: the folder of the results.
        opts: KEY VALUE pairs, put above the recipe of every step.

    Raises:
        UsageError: the plan or a recipe of it is wrong; nothing was started.
        RunError: a step failed, was stopped, or misses what its SEEK.EXPECT says; the steps before
            it are intact.
        DataError, ArtefactError: as training.
    """
    plan = read_plan(file)
    return run_steps(plan, configs(plan, opts), pathlib.Path(out))


def start(args: argparse.Namespace) -> None:
    """Run the plan of a command line in as many processes as it asks for.

    Raises:
        FastSeekError: as `run_plan`.
    """
    plan = read_plan(args.plan)
    cfgs = configs(plan, args.opts)
    out = args.out or str(pathlib.Path("outputs") / plan.name)
    launch(
        run_plan,
        args.num_gpus,
        args.num_machines,
        args.machine_rank,
        args.dist_url,
        (args.plan, out, list(args.opts)),
        cfgs[0].MODEL.DEVICE,
    )


def run_steps(plan: Plan, cfgs: Sequence[CfgNode], out: pathlib.Path) -> Trained:
    """As `run_plan`, with the recipe of every step given."""
    with hold_run_folder(out):
        for step, cfg in zip(plan.steps, cfgs, strict=True):
            _run_step(plan, step, cfg, out)
        for step, cfg in zip(plan.steps, cfgs, strict=True):
            if comm.is_main_process():
                results.check(
                    cfg.SEEK.EXPECT, read_json(out / step.name / "results.json")["metrics"]
                )
    last = out / plan.steps[-1].name
    return Trained(last / TAKEN["final"], last / "config.yaml")


def _run_step(plan: Plan, step: PlanStep, cfg: CfgNode, out: pathlib.Path) -> None:
    start_log(str(out))
    source = _source(plan, step, cfg, out)
    entry: Entry = {
        "name": step.name,
        "from": sha256(source) if source else "",
        "recipe": digest(cfg),
    }
    ready = process_group.share(_ready(out, step, cfg, entry) if comm.is_main_process() else None)
    if ready == "done":
        logger.info("step %s is done: %s", step.name, out / step.name / TAKEN["final"])
        return
    began = time.monotonic()
    found = _train(step, _place_weights(cfg, out / step.name, source), resume=ready == "begun")
    if comm.is_main_process():
        made = sha256(out / step.name / TAKEN["final"])
        _note(
            out,
            plan,
            entry
            | {
                "state": "done",
                "weights": made,
                "seconds": time.monotonic() - began,
                "metrics": results.flat(found),
            },
        )
    comm.synchronize()


def digest(cfg: CfgNode) -> str:
    """SHA-256 of what a recipe says about the model it makes."""
    return hashlib.sha256(_essence(cfg).encode()).hexdigest()


def _essence(cfg: CfgNode) -> str:
    """The keys that differ from the defaults, as YAML, so that a new key of a later version changes
    nothing.
    """
    usual = get_cfg()
    register(usual)
    defaults = _plain(flatten(usual))
    own = _plain(flatten(cfg))
    return _dump(
        {key: value for key, value in own.items() if key not in defaults or defaults[key] != value}
    )


def _dump(settings: Mapping[str, Any]) -> str:
    # Of the weights a step starts from the bytes count, not the name.
    counted = {
        key: value
        for key, value in settings.items()
        if tag_of(key) != RUNS and key != "MODEL.WEIGHTS"
    }
    return yaml.safe_dump(counted)


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: list(value) if isinstance(value, tuple) else value for key, value in settings.items()
    }


def _source(plan: Plan, step: PlanStep, cfg: CfgNode, out: pathlib.Path) -> pathlib.Path | None:
    """The weights a step starts from; None for those its backbone brings."""
    if step.source in [one.name for one in plan.steps]:
        return out / step.source / TAKEN[step.take]
    named = cfg.MODEL.WEIGHTS if step.source == NONE else step.source
    return locate(named, f"step {step.name} of {plan.path}") if named else None


def _place_weights(cfg: CfgNode, folder: pathlib.Path, source: pathlib.Path | None) -> CfgNode:
    """The recipe with the folder of its step and the weights it starts from."""
    own = cfg.clone()
    own.defrost()
    own.OUTPUT_DIR, own.MODEL.WEIGHTS = str(folder), str(source or "")
    own.freeze()
    return own


def _ready(out: pathlib.Path, step: PlanStep, cfg: CfgNode, entry: Entry) -> str:
    """Whether a step is "done", "begun" or "new"; the folder of another training is put aside."""
    folder, book = out / step.name, _book(out)
    old = next((one for one in book["steps"] if one["name"] == step.name), None)
    same = (
        old is not None and old["from"] == entry["from"] and _same_recipe(old, entry, folder, cfg)
    )
    if same and old["state"] == "done":
        weights = folder / TAKEN["final"]
        if (
            weights.is_file()
            and sha256(weights) == old["weights"]
            and (folder / "results.json").is_file()
        ):
            return "done"
        logger.warning("step %s was done, but %s is not as it was", step.name, weights)
    begun = same and folder.is_dir() and _usable(folder)
    if not begun:
        if folder.is_dir() and any(folder.iterdir()):
            aside = next(
                path
                for number in range(1, 10**6)
                if not (path := out / f"{step.name}.old{number}").exists()
            )
            logger.warning(
                "step %s is trained anew, its old folder is now %s: %s",
                step.name,
                aside,
                _why(old, entry, folder, cfg),
            )
            folder.rename(aside)
        folder.mkdir(parents=True, exist_ok=True)
        with atomic(folder / RECIPE, "w") as file:
            file.write(_essence(cfg))
    _note(out, None, entry | {"state": "begun"})
    return "begun" if begun else "new"


def _same_recipe(old: Entry, entry: Entry, folder: pathlib.Path, cfg: CfgNode) -> bool:
    """Whether a step was begun with a recipe that says the same of the model.

    An earlier version may have counted keys that are counted no more, so where the digests differ
    the recipe that it wrote down is compared.
    """
    if old["recipe"] == entry["recipe"]:
        return True
    try:
        recorded = yaml.safe_load((folder / RECIPE).read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError):
        return False
    return isinstance(recorded, dict) and _dump(recorded) == _essence(cfg)


def _usable(folder: pathlib.Path) -> bool:
    """Whether a run in this folder can go on: from its start when nothing was saved, or from a
    checkpoint.
    """
    saved = [name for name, _ in checkpoint_manifest.newest_first(folder)]
    return not (folder / TAG).exists() or any(
        checkpoint_manifest.fault(folder, name) is None for name in saved
    )


def _why(old: Entry | None, entry: Entry, folder: pathlib.Path, cfg: CfgNode) -> str:
    if old is None:
        return "it is not of this plan"
    if old["from"] != entry["from"]:
        return "the weights it starts from are others"
    if old["recipe"] == entry["recipe"]:
        return "none of its checkpoints is whole"
    with contextlib.suppress(OSError):
        return "its recipe has changed: " + "; ".join(
            changed_classes((folder / RECIPE).read_text(encoding="utf-8"), _essence(cfg))
        )
    return "its recipe has changed"


def _book(out: pathlib.Path) -> dict[str, Any]:
    """plan.json, an empty one where there is none.

    Raises:
        DataError: it cannot be read.
    """
    path = out / BOOK
    if not path.exists():
        return {"format": FORMAT, "steps": []}
    book = read_json(path)
    if not isinstance(book, Mapping) or book.get("format") != FORMAT:
        raise DataError(
            f"{path}: not the record of a plan (format {FORMAT}): name another folder with --out"
        )
    return dict(book)


def _note(out: pathlib.Path, plan: Plan | None, entry: Entry) -> None:
    """Put what is known of a step into plan.json, in the order of the plan."""
    book = _book(out)
    steps = [one for one in book["steps"] if one["name"] != entry["name"]] + [entry]
    if plan is not None:
        order = [step.name for step in plan.steps]
        book["plan"] = plan.name
        steps.sort(key=lambda one: order.index(one["name"]) if one["name"] in order else len(order))
    write_json(out / BOOK, {**book, "steps": steps})


def _train(step: PlanStep, cfg: CfgNode, resume: bool) -> Mapping[str, Any]:
    """One training, its results written; what it held of a device is free again."""
    logger.info("step %s, from %s", step.name, cfg.MODEL.WEIGHTS or "what its backbone brings")
    with hold_run_folder(cfg.OUTPUT_DIR):
        cfg = setup(cfg, resume)
        try:
            trainer = Trainer(cfg)
            trainer.resume_or_load(resume)
            found = trainer.train() or OrderedDict()
        except RunError as error:
            raise RunError(
                f"step {step.name}: {error} (for a plan: the same command, without --resume)"
            ) from error
        except UsageError as error:
            raise UsageError(f"{step.where}: step {step.name}: {error}") from error
        if comm.is_main_process():
            results.write(cfg, step.recipe, found)
    del trainer
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return found
