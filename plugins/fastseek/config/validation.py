"""What a config may say, as far as it can be told before anything is built."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch

from .. import compat, registry  # noqa: F401  (compat before anything that imports fastreid)
from ..errors import FastSeekError, UsageError
from ..registry import Registry, build, parse, recipe_name
from ..suggestions import did_you_mean
from . import trial
from .keys import OURS
from .nested import get_value
from .ranges import ATLEAST0, COUNT, POSITIVE, SHARE, Range
from .solver_values import SCHEDULES, parse_expectation, parse_rate

from fastreid.data.datasets import DATASET_REGISTRY
from fastreid.layers import any_softmax, pooling
from fastreid.modeling.backbones import BACKBONE_REGISTRY
from fastreid.modeling.heads import REID_HEADS_REGISTRY
from fastreid.modeling.meta_arch import META_ARCH_REGISTRY

_KINDS = registry.registries()
CALLS = {key.name: _KINDS[key.calls] for key in OURS if key.calls}
INSTEAD = {"TEST.AQE": 'SEEK.ENHANCE ["aqe(k=5)"]', "TEST.RERANK": 'SEEK.RERANK ["k_reciprocal()"]'}
# parts that need what only the program knows, or that build networks; the others are built when a
# recipe is read
LATER = (
    "SEEK.BACKBONE",
    "SEEK.BRANCHES",
    "SEEK.EVALUATOR",
    "SEEK.LOSSES",
    "SEEK.SAMPLER",
    "SEEK.SCHEDULE",
)


# how a part of ours is tried when a recipe is read, one alone
TRIALS: Mapping[str, Callable[[str], Any]] = {
    "SEEK.BACKBONE": trial.maps_of,
    "SEEK.BRANCHES": trial.try_branch,
    "SEEK.LOSSES": trial.try_loss,
}


RANGES = {
    **{key.name: key.legal for key in OURS if isinstance(key.legal, Range)},
    "SOLVER.IMS_PER_BATCH": COUNT,
    "TEST.IMS_PER_BATCH": COUNT,
    "SOLVER.MAX_EPOCH": ATLEAST0,
    "SOLVER.BASE_LR": POSITIVE,
    "SOLVER.ETA_MIN_LR": ATLEAST0,
    "SOLVER.MOMENTUM": SHARE,
    "SOLVER.GAMMA": POSITIVE,
    "SOLVER.WEIGHT_DECAY": ATLEAST0,
    "SOLVER.WEIGHT_DECAY_NORM": ATLEAST0,
    "SOLVER.WEIGHT_DECAY_BIAS": ATLEAST0,
    "SOLVER.HEADS_LR_FACTOR": ATLEAST0,
    "SOLVER.BIAS_LR_FACTOR": ATLEAST0,
    "SOLVER.WARMUP_ITERS": ATLEAST0,
    "SOLVER.WARMUP_FACTOR": ATLEAST0,
    "SOLVER.DELAY_EPOCHS": ATLEAST0,
    "SOLVER.FREEZE_ITERS": ATLEAST0,
    "SOLVER.CHECKPOINT_PERIOD": Range(-1),
    "SOLVER.CLIP_GRADIENTS.CLIP_VALUE": POSITIVE,
    "SOLVER.STEPS": COUNT,
    "DATALOADER.NUM_WORKERS": ATLEAST0,
    "DATALOADER.NUM_INSTANCE": COUNT,
    "TEST.EVAL_PERIOD": Range(-1),
    "TEST.RERANK.K1": COUNT,
    "TEST.RERANK.K2": COUNT,
    "TEST.RERANK.LAMBDA": SHARE,
    "TEST.AQE.QE_K": COUNT,
    "TEST.AQE.QE_TIME": COUNT,
    "MODEL.PIXEL_STD": POSITIVE,
    "MODEL.BACKBONE.LAST_STRIDE": COUNT,
    "MODEL.BACKBONE.FEAT_DIM": COUNT,
    "MODEL.HEADS.NUM_CLASSES": ATLEAST0,
    "MODEL.HEADS.EMBEDDING_DIM": ATLEAST0,
    "INPUT.SIZE_TRAIN": ATLEAST0,
    "INPUT.SIZE_TEST": ATLEAST0,
    "INPUT.FLIP.PROB": SHARE,
    "INPUT.CJ.PROB": SHARE,
    "INPUT.REA.PROB": SHARE,
    "INPUT.RPT.PROB": SHARE,
    "INPUT.AUTOAUG.PROB": SHARE,
    "INPUT.AUGMIX.PROB": SHARE,
    "INPUT.CROP.SCALE": Range(0, 1, above=True),
    "INPUT.CROP.RATIO": POSITIVE,
    "INPUT.CROP.SIZE": COUNT,
    "INPUT.PADDING.SIZE": ATLEAST0,
}
NAMES: dict[str, Callable[[], Iterable[str]]] = {
    "MODEL.META_ARCHITECTURE": lambda: META_ARCH_REGISTRY._obj_map,
    "MODEL.BACKBONE.NAME": lambda: BACKBONE_REGISTRY._obj_map,
    "MODEL.HEADS.NAME": lambda: REID_HEADS_REGISTRY._obj_map,
    "MODEL.BACKBONE.NORM": lambda: ("BN", "syncBN", "GhostBN", "FrozenBN", "GN"),
    "MODEL.HEADS.NORM": lambda: ("BN", "syncBN", "GhostBN", "FrozenBN", "GN"),
    "MODEL.HEADS.NECK_FEAT": lambda: ("before", "after"),
    "MODEL.HEADS.POOL_LAYER": lambda: pooling.__all__,
    "MODEL.HEADS.CLS_LAYER": lambda: any_softmax.__all__,
    "SOLVER.OPT": lambda: _classes(torch.optim, torch.optim.Optimizer),
    "SOLVER.SCHED": lambda: SCHEDULES,
    "SOLVER.WARMUP_METHOD": lambda: ("linear", "constant"),
    "SOLVER.CLIP_GRADIENTS.CLIP_TYPE": lambda: ("norm", "value"),
    "INPUT.PADDING.MODE": lambda: ("constant", "edge", "reflect", "symmetric"),
    "DATALOADER.SAMPLER_TRAIN": lambda: (
        "TrainingSampler",
        "NaiveIdentitySampler",
        "BalancedIdentitySampler",
        "ImbalancedDatasetSampler",
        "SetReWeightSampler",
    ),
    "TEST.METRIC": lambda: ("cosine", "euclidean"),
}
LOSSES = (
    "CrossEntropyLoss",
    "TripletLoss",
    "CircleLoss",
    "Cosface",
)  # what fast-reid's Baseline and MGN know


def check(cfg: Any, places: Mapping[str, str]) -> None:
    """Check values that no one would notice, or only after the data was read.

    Args:
        cfg: a config with our keys.
        places: where keys were set, "file:line", for the messages.

    Raises:
        UsageError: a number out of its range, a name nobody knows, or a call string that does not
            fit its part.
    """
    for key, legal in RANGES.items():
        value = get_value(cfg, key)
        for one in value if isinstance(value, list | tuple) else [value]:
            if one not in legal:
                raise UsageError(f"{_at(places, key)}{key} is {value!r}; legal: {legal}")
    for key, known in NAMES.items():
        _one_of(key, get_value(cfg, key), known(), places)
    for ours in OURS:
        if isinstance(ours.legal, tuple):
            _one_of(ours.name, get_value(cfg, ours.name), ours.legal, places)
    for key, members in CALLS.items():
        value = get_value(cfg, key)
        for call in [value] if isinstance(value, str) else value:
            if call:
                _call(key, call, members, places)
                _try_part(key, call, members, places)
    _check_rest(cfg, places)


def _check_rest(cfg: Any, places: Mapping[str, str]) -> None:
    for key in ("MODEL.PIXEL_MEAN", "MODEL.PIXEL_STD"):
        if len(get_value(cfg, key)) not in (1, 3):
            raise UsageError(
                f"{_at(places, key)}{key} is {get_value(cfg, key)!r}; legal: three numbers (red, green,"
                " blue) or one"
            )
    for key, instead in INSTEAD.items():
        if cfg.SEEK.METRICS and get_value(cfg, key).ENABLED:
            raise UsageError(
                f"{_at(places, f'{key}.ENABLED')}{key}.ENABLED is for fast-reid's own figures and"
                f" does nothing with SEEK.METRICS: set it to False and take {instead}, or empty"
                " SEEK.METRICS"
            )
    for key in ("SEEK.FREEZE", "SEEK.RATES", "SEEK.DROP"):
        if not all(isinstance(one, str) and one.strip() for one in get_value(cfg, key)):
            raise UsageError(
                f"{_at(places, key)}{key} is {get_value(cfg, key)!r}; legal: a list of strings"
            )
    if cfg.SEEK.STOP_AT > cfg.SOLVER.MAX_EPOCH:
        raise UsageError(
            f"{_at(places, 'SEEK.STOP_AT')}SEEK.STOP_AT is {cfg.SEEK.STOP_AT}; legal: 0 to "
            f"SOLVER.MAX_EPOCH {cfg.SOLVER.MAX_EPOCH}, over which the schedule goes"
        )
    _parse_each("SEEK.RATES", cfg.SEEK.RATES, parse_rate, places)
    _parse_each("SEEK.EXPECT", cfg.SEEK.EXPECT, parse_expectation, places)
    device, where = cfg.MODEL.DEVICE, _at(places, "MODEL.DEVICE")
    if not re.fullmatch(r"cpu|mps|cuda(:\d+)?", device):
        raise UsageError(f"{where}MODEL.DEVICE is {device!r}; legal: cpu, mps, cuda, cuda:0 …")
    for key in ("INPUT.SIZE_TRAIN", "INPUT.SIZE_TEST"):
        if (
            len(get_value(cfg, key)) not in (1, 2)
            or len({side > 0 for side in get_value(cfg, key)}) != 1
        ):
            raise UsageError(
                f"{_at(places, key)}{key} is {get_value(cfg, key)!r}; legal: [height, width], [side], or"
                " [0] for images that are all of one size already"
            )
    if cfg.SEEK.CHANNELS_LAST and cfg.MODEL.META_ARCHITECTURE != "Seeker":
        raise UsageError(
            f"{_at(places, 'SEEK.CHANNELS_LAST')}SEEK.CHANNELS_LAST is for Seeker, not for"
            f" {cfg.MODEL.META_ARCHITECTURE}"
        )
    if cfg.MODEL.META_ARCHITECTURE in ("Baseline", "MGN"):
        for name in cfg.MODEL.LOSSES.NAME:
            _one_of("MODEL.LOSSES.NAME", name, LOSSES, places)
    for key in ("DATASETS.NAMES", "DATASETS.TESTS"):
        for name in get_value(cfg, key):
            _dataset(key, name, places)


def _parse_each(
    key: str, entries: Iterable[str], parse_one: Callable[[str], Any], places: Mapping[str, str]
) -> None:
    try:
        for entry in entries:
            parse_one(entry)
    except UsageError as error:
        raise UsageError(f"{_at(places, key)}{error}") from error


def _at(places: Mapping[str, str], key: str) -> str:
    return f"{places[key]}: " if key in places else ""


def _classes(module: Any, kind: type) -> list[str]:
    return [
        name
        for name, value in vars(module).items()
        if inspect.isclass(value) and issubclass(value, kind)
    ]


def _one_of(key: str, value: str, known: Iterable[str], places: Mapping[str, str]) -> None:
    known = sorted(known)
    if value not in known:
        hint = did_you_mean(value, known)
        raise UsageError(f"{_at(places, key)}{key} is {value!r}; legal: {', '.join(known)}{hint}")


def _call(key: str, call: Any, members: Registry[Any], places: Mapping[str, str]) -> None:
    if not isinstance(call, str):
        raise UsageError(
            f'{_at(places, key)}{key} must hold call strings such as "name(k=1)", got {call!r}'
        )
    try:
        name, args, kwargs = parse(call)
        signature = inspect.signature(members.get(name))
    except UsageError as error:
        raise UsageError(f"{_at(places, key)}{key}: {error}") from error
    try:
        signature.bind_partial(*args, **kwargs)
    except TypeError as error:
        raise UsageError(
            f"{_at(places, key)}{key}: {call!r}: {error}; {name} takes {signature}"
        ) from error


def _try_part(key: str, call: str, members: Registry[Any], places: Mapping[str, str]) -> None:
    """Build a part, or where that takes more than the recipe, see whether it says all that it must.

    A part that wants a file which is not there yet is left to the run.
    """
    try:
        if key in LATER:
            _bind(call, members)
            TRIALS.get(key, _pass)(call)
        else:
            build(call, members)
    except UsageError as error:
        raise UsageError(f"{_at(places, key)}{key}: {error}") from error
    except (FastSeekError, OSError, ImportError):
        return
    except Exception as error:  # whatever a part refuses its arguments with
        raise UsageError(
            f"{_at(places, key)}{key}: {call!r}: {type(error).__name__}: {error}"
        ) from error


def _pass(call: str) -> None:
    """For parts that cannot be tried alone."""


def _bind(call: str, members: Registry[Any]) -> None:
    name, args, kwargs = parse(call)
    signature = inspect.signature(members.get(name))
    runtime = [key for key in members.runtime if key in signature.parameters]
    try:
        signature.bind(*args, **kwargs, **dict.fromkeys(runtime))
    except TypeError as error:
        own = [str(one) for one in signature.parameters.values() if one.name not in runtime]
        raise UsageError(f"{call!r}: {error}; {name} takes ({', '.join(own)})") from error


def check_whole(cfg: Any, places: Mapping[str, str]) -> None:
    """Check that nothing is missing of a recipe that is run and not only inherited from.

    Raises:
        UsageError: no training data, a Seeker without branches, a map or an embedding that no part
            gives, or a sampler or schedule that refuses its arguments.
    """
    if not len(cfg.DATASETS.NAMES):
        raise UsageError(
            f"{_at(places, 'DATASETS.NAMES')}DATASETS.NAMES is empty: name the images, such as "
            "(\"folder('/my/images')\",)"
        )
    if cfg.MODEL.META_ARCHITECTURE == "Seeker" and not cfg.SEEK.BRANCHES:
        raise UsageError(
            f"{_at(places, 'MODEL.META_ARCHITECTURE')}MODEL.META_ARCHITECTURE is Seeker and"
            ' SEEK.BRANCHES is empty: name the embeddings, such as ["gem(dim=256)"]'
        )
    wrong = trial.check_names(cfg) if cfg.MODEL.META_ARCHITECTURE == "Seeker" else None
    if wrong:
        raise UsageError(f"{_at(places, wrong[0])}{wrong[0]}: {wrong[1]}")
    for key, call, size, attempt in (
        ("SEEK.SCHEDULE", cfg.SEEK.SCHEDULE, cfg.SOLVER.MAX_EPOCH, trial.try_schedule),
        ("SEEK.SAMPLER", cfg.SEEK.SAMPLER, cfg.SOLVER.IMS_PER_BATCH, trial.try_sampler),
    ):
        try:
            if call:
                attempt(call, size)
        except UsageError as error:
            raise UsageError(f"{_at(places, key)}{key}: {error}") from error


def check_training(cfg: Any) -> None:
    """Check that a recipe trains with all it says.

    Raises:
        UsageError: SEEK.CROPS, and no branch that looks at the crops: every image would go through
            the network twice for nothing; or something that SEEK.FSDP or
            SEEK.EMA cannot do.
    """
    if (
        cfg.SEEK.FSDP
        and len(cfg.DATASETS.TESTS)
        and (cfg.SEEK.CLASS_METRICS or cfg.SEEK.FOREGROUND)
    ):
        raise UsageError(
            "SEEK.FSDP does not go with SEEK.CLASS_METRICS and SEEK.FOREGROUND on the way, which call"
            " parts of the network: empty DATASETS.TESTS, and evaluate the saved weights in one"
            " process"
        )
    if cfg.SEEK.EMA and (cfg.SEEK.FSDP or cfg.TEST.PRECISE_BN.ENABLED):
        raise UsageError("SEEK.EMA does not go with SEEK.FSDP or TEST.PRECISE_BN: leave one out")
    if cfg.SEEK.FSDP and cfg.SOLVER.AMP.ENABLED and cfg.SEEK.AMP_DTYPE == "fp16":
        raise UsageError("SEEK.FSDP does not go with SEEK.AMP_DTYPE fp16: take bf16")
    if cfg.SEEK.CROPS and not any(map(_may_use_crops, cfg.SEEK.BRANCHES)):
        raise UsageError(
            f"SEEK.CROPS {cfg.SEEK.CROPS!r}: no branch of SEEK.BRANCHES looks at the crops: take"
            ' "two_stream(of=…)", or empty SEEK.CROPS'
        )


def _may_use_crops(call: str) -> bool:
    """Whether a branch says that it uses crops; one of others may without saying so."""
    branch = registry.BRANCHES.get(parse(call)[0])
    return bool(getattr(branch, "uses_crops", not trial.is_ours(call, registry.BRANCHES)))


def _dataset(key: str, name: str, places: Mapping[str, str]) -> None:
    """A call string of ours, one of our class names, or a name fast-reid knows."""
    called, bracket, rest = name.partition("(")
    ours = recipe_name(called.strip())
    if ours in registry.DATASETS:
        _call(key, f"{ours}{bracket}{rest}", registry.DATASETS, places)
    else:
        _one_of(
            key, called.strip(), [*DATASET_REGISTRY._obj_map, *registry.DATASETS.names()], places
        )
