"""Evaluation in the form of fast-reid's trainer: a loader and an evaluator for every test set."""

from __future__ import annotations

import contextlib
import functools
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import nn

from ..data import builders as loaders
from ..data.fastreid_datasets import resolve
from ..data.loaders import TestLoader, tell_images
from ..distributed import process_group
from ..distributed.fully_sharded import is_fully_sharded, let_go
from ..distributed.process_group import inner
from ..distributed.wrap import to_device
from ..errors import UsageError
from ..inference import embedding
from ..inference.evaluation import classified_figures, figures_of, name_rejects
from ..modeling.layers.trainer_contract import EVALUATION, TrainerContract, keys_set
from ..modeling.modes import preserve_modes
from ..registry import EVALUATORS, build
from ..structures import with_split
from ..structures.splits import select_split

from fastreid.evaluation.testing import flatten_results_dict
from fastreid.utils import comm

logger = logging.getLogger("fastreid.fastseek")
# What the test loader does; the rest of EVALUATION is the evaluator's.
OF_LOADER: Mapping[str, Any] = {"TEST": [], "CROPS": "", "CACHE": ""}
Function = Callable[[Mapping[str, Any]], Any]
Shape = tuple[str, tuple[tuple[int, ...], torch.dtype]]
OF_EVALUATOR = {key: value for key, value in EVALUATION.items() if key not in OF_LOADER}


def build_test_loader(cfg: Any, dataset_name: str) -> tuple[TestLoader, int]:
    """The loader over queries, then gallery, of a data set, as SEEK.TEST and TEST say, and the
    number of queries.
    """
    items = resolve(dataset_name, combine_all=cfg.DATASETS.COMBINEALL)
    queries, gallery = (list(with_split(items, split)) for split in ("query", "gallery"))
    loader = loaders.build_test_loader(
        cfg, queries + gallery, rank=comm.get_rank(), world_size=comm.get_world_size()
    )
    loader.separate_sides(len(queries))
    return loader, len(queries)


def build_evaluator(cfg: Any, loader: Any, num_query: int) -> Any:
    """The evaluator of SEEK.EVALUATOR, for what a test loader brings.

    Args:
        cfg: the recipe.
        loader: ours, or any that brings batches as fast-reid's do.
        num_query: how many images at the front are queries.

    Raises:
        UsageError: it cannot be built.
    """
    return build(
        cfg.SEEK.EVALUATOR or "retrieval()",
        EVALUATORS,
        num_query=num_query,
        items=loader.items if isinstance(loader, TestLoader) else None,
        judge=functools.partial(figures_of, cfg),
        name_rejects=functools.partial(name_rejects, cfg.OUTPUT_DIR),
    )


def check_test_sets(cfg: Any) -> None:
    """Whether the test sets of a recipe are there and can be searched.

    Raises:
        DataError: one is missing, or has no query or no gallery.
    """
    searched = bool(cfg.SEEK.METRICS or not cfg.SEEK.CLASS_METRICS)
    for name in cfg.DATASETS.TESTS:
        items = resolve(name, combine_all=cfg.DATASETS.COMBINEALL)
        if cfg.SEEK.EVALUATOR:
            continue  # it has rules of its own
        select_split(items, "query", name)
        if searched:
            select_split(items, "gallery", name)


def evaluate_tests(builders: Any, cfg: Any, model: nn.Module) -> OrderedDict[str, Any]:
    """Evaluate on every test set; every module is left in the mode it was in.

    Args:
        builders: a trainer's class; its `build_evaluator` is asked for loader and evaluator of
            every set.
        cfg: the recipe.
        model: perhaps wrapped for several processes.

    Returns:
        the figures of the one test set, or those of each by its name; empty figures but on rank 0.

    Raises:
        UsageError: an evaluator or loader passes over what the recipe asks for.
    """
    results: OrderedDict[str, Any] = OrderedDict()
    with preserve_modes(model):
        for name in cfg.DATASETS.TESTS:
            results[name] = _evaluate_set(builders, cfg, model, name)
            if comm.is_main_process():
                figures = flatten_results_dict(results[name]).items()
                logger.info("%s: %s", name, "  ".join(f"{k} {v:.2f}" for k, v in figures))
    return next(iter(results.values())) if len(results) == 1 else results


def _evaluate_set(builders: Any, cfg: Any, model: nn.Module, name: str) -> OrderedDict[str, Any]:
    made = builders.build_evaluator(cfg, name)
    if not isinstance(made, tuple) or len(made) != 2:
        raise UsageError(
            f"{builders.__name__}.build_evaluator gave {type(made).__name__}: expected the test"
            " loader and the evaluator, (loader, evaluator), as in fast-reid 1.4"
        )
    loader, evaluator = made
    if not (cfg.SEEK.CLASS_METRICS and follows_recipe(evaluator)):
        return run_evaluator(cfg, model, loader, evaluator)
    classified = classified_figures(cfg, model, name)
    if not (cfg.SEEK.METRICS or cfg.SEEK.EVALUATOR):
        return classified
    found = run_evaluator(cfg, model, loader, evaluator)
    return found | {key: value for key, value in classified.items() if key not in found}


def follows_recipe(evaluator: Any) -> bool:
    """Whether an evaluator judges as the recipe says, and not by rules of its own."""
    return bool(getattr(evaluator, "follows_recipe", False))


def run_evaluator(cfg: Any, model: nn.Module, loader: Any, evaluator: Any) -> OrderedDict[str, Any]:
    """Embed what a loader brings, and let an evaluator judge it: `inference_on_dataset` with the
    recipe's views.

    An evaluator that follows the recipe gets vectors [B, D] over the recipe's views. Another gets
    what the model returns for the whole batch, as under fast-reid, and with TEST.FLIP the mean with
    that of the mirrored images.

    Returns:
        the evaluator's figures; empty but in the main process.

    Raises:
        UsageError: loader or evaluator pass over what the recipe asks for.
        DataError: an image that an evaluator of others has to count cannot be read.
    """
    _refuse_unheeded(cfg, loader, evaluator)
    if isinstance(loader, TestLoader) and not follows_recipe(evaluator):
        loader.fail = True  # it counts queries by their place: none may be left out
    function = _outputs_of(cfg, model, evaluator)
    evaluator.reset()
    run = run_in_step if is_fully_sharded(model) else _run_alone
    with embedding.evaluating(model), _announce_evaluation(model):
        for batch, outputs in run(tell_images(loader, "evaluating"), function):
            evaluator.process(batch, outputs)
    if is_fully_sharded(model):
        let_go(model)
    return _plain(evaluator.evaluate() or {})


def _run_alone(
    batches: Iterable[Mapping[str, Any]], function: Function
) -> Iterator[tuple[Mapping[str, Any], Any]]:
    """Yield batches with what a model makes of them."""
    for batch in batches:
        yield batch, function(batch) if len(batch["images"]) else torch.empty(0, 0)


def run_in_step(
    batches: Iterable[Mapping[str, Any]], function: Function
) -> Iterator[tuple[Mapping[str, Any], Any]]:
    """Yield batches with what a model makes of them whose weights no process has alone.

    All processes have to run it as often. One that has no batch left, or none that could be read,
    runs it on zeros as long as another has one.

    Args:
        batches: those of this process.
        function: is called with a batch, and in every process as often.
    """
    rest = iter(batches)
    while True:
        batch = next(rest, None)
        shapes = process_group.collect(None if batch is None else _shapes_of(batch))
        if all(one is None for one in shapes):
            return
        known = next((one for one in shapes if one), None)
        outputs: Any = torch.empty(0, 0)
        if batch is not None and len(batch["images"]):
            outputs = function(batch)
        elif known is not None:
            function({name: torch.zeros(1, *shape, dtype=kind) for name, (shape, kind) in known})
        if batch is not None:
            yield batch, outputs


def _shapes_of(batch: Mapping[str, Any]) -> list[Shape]:
    """Name, shape of one image, and type of what a model takes of a batch; none of an empty one."""
    if not len(batch["images"]):
        return []
    names = [name for name in ("images", *embedding.BESIDE) if name in batch]
    return [(name, (tuple(batch[name].shape[1:]), batch[name].dtype)) for name in names]


def _refuse_unheeded(cfg: Any, loader: Any, evaluator: Any) -> None:
    unheeded = [] if isinstance(loader, TestLoader) else keys_set(cfg, OF_LOADER)
    if unheeded:
        raise UsageError(
            f"{', '.join(unheeded)}: the test loader, {type(loader).__name__}, does not read"
            " FastSeek's keys; leave them out, or let build_test_loader return"
            " fastseek.training.build_test_loader(cfg, dataset_name)"
        )
    unheeded = [] if follows_recipe(evaluator) else keys_set(cfg, OF_EVALUATOR)
    if unheeded:
        raise UsageError(
            f"{', '.join(unheeded)}: build_evaluator gives {type(evaluator).__name__}, which judges"
            " by its own rules; leave them out, or let build_evaluator return an evaluator of"
            " fastseek.training"
        )


def _outputs_of(cfg: Any, model: nn.Module, evaluator: Any) -> Function:
    """What an evaluator gets for a batch."""
    device = next(model.parameters()).device
    if follows_recipe(evaluator):
        embed = embedding.embedder(cfg, model)
        return lambda batch: embed(embedding.model_input(batch, device))
    plain = inner(model)

    def whole(batch: Mapping[str, Any]) -> Any:
        there = to_device(batch, device)
        # fast-reid's own architectures normalize the batch they are given in place
        outputs = plain({**there, "images": there["images"].clone()})
        if not cfg.TEST.FLIP.ENABLED:
            return outputs
        if not isinstance(outputs, torch.Tensor):
            raise UsageError(
                f"TEST.FLIP takes the mean of features, and {type(plain).__name__} returns"
                f" {type(outputs).__name__}: set TEST.FLIP.ENABLED False"
            )
        return (outputs + plain({**there, "images": there["images"].flip(3)})) / 2

    return whole


@contextlib.contextmanager
def _announce_evaluation(model: nn.Module) -> Iterator[None]:
    """Tell the model that its recipe is followed in this evaluation."""
    contracts = [one for one in inner(model).modules() if isinstance(one, TrainerContract)]
    before = [one.evaluated for one in contracts]
    for one in contracts:
        one.evaluated = True
    try:
        yield
    finally:
        for one, was in zip(contracts, before, strict=True):
            one.evaluated = was


def _plain(figures: Mapping[str, Any]) -> OrderedDict[str, Any]:
    """The figures as Python's numbers, so that they can be written; groups of figures stay groups."""
    return OrderedDict(
        (name, _plain(value) if isinstance(value, Mapping) else float(value))
        for name, value in figures.items()
    )
