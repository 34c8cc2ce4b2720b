"""Step-wise training: the steps of a plan one after the other, each finished once, a killed one
gone on with.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import logging
import pathlib
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import yaml

from ...config.edits import replace_values
from ...config.keys import OLD_KEYS, RUNS, SHAPES_MODEL, former_names, tag_of
from ...config.nested import flatten
from ...config.plugins import register
from ...distributed import process_group
from ...distributed.launch import launch
from ...distributed.run_lock import hold_run_folder
from ...errors import DataError, RunError, UsageError
from ...io.atomic import atomic
from ...io.digests import digest, sha256
from ...io.json_files import read_json, write_json
from ...io.paths import PathLike, locate
from ...io.stage_record import StageRecord, describe_differences
from ...structures.class_file import read_class_file
from ...training import checkpoint_manifest, results
from ...training.checkpoint import TAG
from ...training.run_setup import setup, start_log
from ...training.trainer import Trainer
from ..train import evaluate
from .spec import NONE, TAKEN, Plan, PlanStep, configs, read_plan

from fastreid.config import CfgNode, get_cfg
from fastreid.utils import comm

logger = logging.getLogger("fastreid.fastseek")
RECORD = "training.json"  # of one step, in its folder; stage.json is of what wraps a training
BOOK, FORMAT = "plan.json", 1  # all steps at a glance
RECIPE, RESULTS = "recipe.yml", "results.json"
DONE, BEGUN, NEW, TRAINED = "done", "begun", "new", "trained"
JUDGED = "judged by"  # in what a record reports: the keys that say how its model is evaluated
FORMER_NEUTRAL = (
    "OUTPUT_DIR",
    "MODEL.WEIGHTS",
    "MODEL.DEVICE",
    "DATALOADER.NUM_WORKERS",
    "SEEK.CHECKPOINT_MINUTES",
    "SEEK.KEEP_CHECKPOINTS",
    "SEEK.EXPECT",
)
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

    Step S lies in `out`/S and has its record there, training.json; `out`/plan.json lists for every
    step which recipe it had, which weights it came from and which it made. A finished step is left
    alone, one that was stopped goes on. Where recipe or origin have changed, the old folder gets
    another name, and the step and those that come from it are trained anew; the log says why.

    Args:
        file: the plan, see `spec.read_plan`.
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
                results.check(cfg.SEEK.EXPECT, read_json(out / step.name / RESULTS)["metrics"])
    last = out / plan.steps[-1].name
    return Trained(last / TAKEN["final"], last / "config.yaml")


def _run_step(plan: Plan, step: PlanStep, cfg: CfgNode, out: pathlib.Path) -> None:
    start_log(str(out))
    source = _find_source(plan, step, cfg, out)
    record = training_record(out / step.name, cfg, source, _is_best_taken(plan, step))
    ready = process_group.share(_prepare(record, step, cfg, out) if comm.is_main_process() else "")
    if ready == DONE:
        logger.info("step %s is done: %s", step.name, out / step.name / TAKEN["final"])
        return
    began, before = time.monotonic(), record.load() if ready == TRAINED else None
    placed = _place_weights(cfg, out / step.name, source)
    found = _judge(step, placed) if ready == TRAINED else _train(step, placed, ready == BEGUN)
    if comm.is_main_process():
        files = [record.folder / TAKEN["final"], record.folder / RESULTS]
        seconds = before.results["seconds"] if before else time.monotonic() - began
        told = {"seconds": seconds, "metrics": results.flat(found)}
        made = record.finish(files, {**told, JUDGED: _judging_keys(cfg)})
        entry = _entry(step, cfg, record) | {"state": DONE, "weights": made.files[TAKEN["final"]]}
        _note(out, plan, {**entry, **told})
    comm.synchronize()


def training_record(
    folder: pathlib.Path, cfg: CfgNode, source: pathlib.Path | None, best: bool = False
) -> StageRecord:
    """The record of one training.

    Args:
        folder: of the training.
        cfg: its recipe.
        source: the weights it starts from: their bytes count, not their name.
        best: whether its best checkpoint is wanted, which the evaluations choose.
    """
    begins, changed = sha256(source) if source else "", _changed_keys(cfg)
    shaping = {key: value for key, value in changed.items() if tag_of(key) == SHAPES_MODEL}
    all_keys = {"from": begins, "recipe": _that_count(changed)}
    inputs = all_keys if best else {"from": begins, "recipe": _without_weights(shaping)}
    # Records of before the keys that judge were told apart are of all keys.
    former = (digest(all_keys),)
    return StageRecord(folder, inputs, RECORD, former, (TAKEN["final"], RESULTS))


def _is_best_taken(plan: Plan, step: PlanStep) -> bool:
    return any(one.source == step.name and one.take == "best" for one in plan.steps)


def _judging_keys(cfg: CfgNode) -> dict[str, Any]:
    """What a recipe says of how its model is evaluated."""
    changed = _that_count(_changed_keys(cfg))
    return {key: value for key, value in changed.items() if tag_of(key) != SHAPES_MODEL}


def essence(cfg: CfgNode) -> dict[str, Any]:
    """What a recipe says about what a training makes: the keys that differ from the defaults.

    A new key of a later version changes nothing as long as it has its default.
    """
    return _that_count(_changed_keys(cfg))


def recipe_digest(cfg: CfgNode) -> str:
    """SHA-256 of what a recipe says about the model it makes."""
    return digest(yaml.safe_dump(essence(cfg)))


def former_recipe_digest(cfg: CfgNode) -> str:
    """The digest of a recipe in records of before every key had a tag."""
    counted = {key: value for key, value in _changed_keys(cfg).items() if key not in FORMER_NEUTRAL}
    return digest(yaml.safe_dump(former_names(counted)))


def _changed_keys(cfg: CfgNode) -> dict[str, Any]:
    usual = get_cfg()
    register(usual)
    defaults, own = _without_tuples(flatten(usual)), _without_tuples(flatten(cfg))
    return {
        key: value for key, value in own.items() if key not in defaults or defaults[key] != value
    }


def _that_count(settings: Mapping[str, Any]) -> dict[str, Any]:
    return _without_weights({key: one for key, one in settings.items() if tag_of(key) != RUNS})


def _without_weights(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings without the weights' name: their bytes count."""
    return {key: value for key, value in settings.items() if key != "MODEL.WEIGHTS"}


def _without_tuples(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: list(value) if isinstance(value, tuple) else value for key, value in settings.items()
    }


def _find_source(
    plan: Plan, step: PlanStep, cfg: CfgNode, out: pathlib.Path
) -> pathlib.Path | None:
    """The weights a step starts from; None for those its backbone brings."""
    if step.source in [one.name for one in plan.steps]:
        return out / step.source / TAKEN[step.take]
    named = cfg.MODEL.WEIGHTS if step.source == NONE else step.source
    return locate(named, f"step {step.name} of {plan.path}") if named else None


def _place_weights(cfg: CfgNode, folder: pathlib.Path, source: pathlib.Path | None) -> CfgNode:
    """The recipe with the folder of its step and the weights it starts from."""
    return replace_values(cfg, {"OUTPUT_DIR": str(folder), "MODEL.WEIGHTS": str(source or "")})


def _prepare(record: StageRecord, step: PlanStep, cfg: CfgNode, out: pathlib.Path) -> str:
    """Whether a step is DONE, TRAINED (and to be evaluated anew), BEGUN or NEW; the folder of
    another training is put aside.
    """
    _take_over_entry(record, step.name, out)
    done = record.load()
    if done is not None:
        # A record of before they were kept is of the same keys, else it were of other inputs.
        judged = done.results.get(JUDGED, _judging_keys(cfg))
        return DONE if judged == _judging_keys(cfg) else TRAINED
    folder, same = record.folder, record.has_same_inputs()
    if same and record.was_finished():
        logger.warning("step %s was done, but %s", step.name, record.refusal())
    begun = same and folder.is_dir() and _is_usable(folder)
    if not begun:
        if folder.is_dir() and any(folder.iterdir()):
            _put_aside(folder, "none of its checkpoints is whole" if same else _why(record))
        folder.mkdir(parents=True, exist_ok=True)
        with atomic(folder / RECIPE, "w") as file:
            file.write(yaml.safe_dump(essence(cfg)))
    record.begin()
    _note(out, None, _entry(step, cfg, record) | {"state": BEGUN})
    return BEGUN if begun else NEW


def _take_over_entry(record: StageRecord, name: str, out: pathlib.Path) -> None:
    """Write the record of a step of an earlier version, which stands in plan.json alone."""
    entry = next((one for one in _book(out)["steps"] if one["name"] == name), None)
    if entry is None or record.path.exists():
        return
    try:
        recorded = yaml.safe_load((record.folder / RECIPE).read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError):
        return
    recorded = {OLD_KEYS.get(key, key): value for key, value in recorded.items()}
    inputs = {"from": entry["from"], "recipe": _that_count(recorded)}
    old = dataclasses.replace(record, inputs=inputs)
    weights = record.folder / TAKEN["final"]
    whole = weights.is_file() and sha256(weights) == entry.get("weights")
    if whole and (record.folder / RESULTS).is_file():
        told = {key: entry[key] for key in ("seconds", "metrics") if key in entry}
        old.finish([weights, record.folder / RESULTS], told)
        return
    if entry["state"] == DONE:
        logger.warning("step %s was done, but %s is not as it was", name, weights)
    old.begin()


def _put_aside(folder: pathlib.Path, why: str) -> None:
    """Give the folder of another training another name."""
    number = 1
    while (aside := folder.with_name(f"{folder.name}.old{number}")).exists():
        number += 1
    logger.warning("step %s is trained anew, its old folder is now %s: %s", folder.name, aside, why)
    folder.rename(aside)


def _is_usable(folder: pathlib.Path) -> bool:
    """Whether a run in this folder can go on: from its start when nothing was saved, or from a
    checkpoint.
    """
    saved = [name for name, _ in checkpoint_manifest.newest_first(folder)]
    return not (folder / TAG).exists() or any(
        checkpoint_manifest.fault(folder, name) is None for name in saved
    )


def _why(record: StageRecord) -> str:
    """Why what lies in a step's folder is another training."""
    old = record.recorded_inputs()
    if old is None:
        return "it is not of this plan"
    if old["from"] != record.inputs["from"]:
        return "the weights it starts from are others"
    now = record.inputs["recipe"]
    counted = {
        key: value
        for key, value in old["recipe"].items()
        if key in now or tag_of(key) == SHAPES_MODEL
    }
    return f"its recipe has changed: {describe_differences(counted, now)}"


def _entry(step: PlanStep, cfg: CfgNode, record: StageRecord) -> Entry:
    return {"name": step.name, "from": record.inputs["from"], "recipe": recipe_digest(cfg)}


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


def _judge(step: PlanStep, cfg: CfgNode) -> Mapping[str, Any]:
    """Evaluate a finished training by other metrics, on other test sets or in another way."""
    logger.info("step %s is trained; its model is evaluated anew", step.name)
    folder = pathlib.Path(cfg.OUTPUT_DIR)
    with hold_run_folder(cfg.OUTPUT_DIR):
        classes = len(read_class_file(folder / "classes.json").labels)
        cfg = Trainer.auto_scale_hyperparams(setup(cfg, resume=True), classes)
        found: Mapping[str, Any] = OrderedDict()
        if len(cfg.DATASETS.TESTS):
            weights = {"MODEL.WEIGHTS": str(folder / TAKEN["final"])}
            found = evaluate(replace_values(cfg, weights))
        if comm.is_main_process():
            results.write(cfg.OUTPUT_DIR, step.recipe, cfg.SEED, found)
    return found


def _train(step: PlanStep, cfg: CfgNode, resume: bool) -> Mapping[str, Any]:
    """One training, its results written; what it held of a device is free again."""
    logger.info("step %s, from %s", step.name, cfg.MODEL.WEIGHTS or "what its backbone brings")
    with hold_run_folder(cfg.OUTPUT_DIR):
        cfg = setup(cfg, resume)
        try:
            trainer = Trainer(cfg, advice="run the same command again to go on")
            trainer.resume_or_load(resume)
            found = trainer.train() or OrderedDict()
        except RunError as error:  # of its own kind again: a run that was stopped is no failure
            raise type(error)(f"step {step.name}: {error}") from error
        except UsageError as error:
            raise UsageError(f"{step.where}: step {step.name}: {error}") from error
        if comm.is_main_process():
            results.write(cfg.OUTPUT_DIR, step.recipe, cfg.SEED, found)
    del trainer
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return found
