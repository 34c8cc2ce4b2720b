"""Every key of a recipe: FastSeek's own with their defaults, and what each key has a say in.

Finished work is kept as long as nothing it was made from changes. Whether a changed key makes it
stale is said here, once, by the key's tag:

    shapes_model   another value trains another model
    shapes_answer  the model stays; embeddings, rankings or class probabilities become others
    judges         the answer stays; only what is computed from it, or when, changes
    runs           where, how fast and how safely it runs; nothing that is made changes
"""

from __future__ import annotations

import copy
import dataclasses
import warnings
from collections.abc import Mapping
from typing import Any, Literal

from ..errors import UsageError
from ..io.text_table import align_columns
from ..suggestions import did_you_mean
from .nested import flatten
from .ranges import ATLEAST0, COUNT, SHARE, Range

Tag = Literal["shapes_model", "shapes_answer", "judges", "runs"]
SHAPES_MODEL: Tag = "shapes_model"
SHAPES_ANSWER: Tag = "shapes_answer"
JUDGES: Tag = "judges"
RUNS: Tag = "runs"
TAGS = (SHAPES_MODEL, SHAPES_ANSWER, JUDGES, RUNS)


@dataclasses.dataclass(frozen=True)
class Key:
    """One key that FastSeek adds to fast-reid's config.

    Args:
        name: dotted.
        default: its value where no recipe sets it; its type is the type every value must have.
        comment: what it means, for people.
        tag: what it has a say in.
        legal: the numbers it may be, or the words; None where the type alone decides.
        calls: the kind of part whose call strings it holds, "" where it holds none.
    """

    name: str
    default: Any
    comment: str
    tag: Tag
    legal: Range | tuple[str, ...] | None = None
    calls: str = ""


OURS = (
    Key(
        "PLUGINS",
        [],
        "packages with a `register(cfg)`, imported before the recipe is read",
        SHAPES_MODEL,
    ),
    Key(
        "SEED",
        0,
        "seeds weights, order and augmentation; -1 draws one and logs it",
        SHAPES_MODEL,
        legal=Range(-1),
    ),
    Key(
        "SEEK.BACKBONE",
        "",
        'call string of BACKBONES; "" takes fast-reid\'s MODEL.BACKBONE',
        SHAPES_MODEL,
        calls="backbones",
    ),
    Key(
        "SEEK.BLOCKS",
        [],
        "call strings of BLOCKS: attention and other parts put into the backbone, in order",
        SHAPES_MODEL,
        calls="blocks",
    ),
    Key(
        "SEEK.BRANCHES",
        [],
        "call strings of BRANCHES: feature maps -> embeddings",
        SHAPES_MODEL,
        calls="branches",
    ),
    Key(
        "SEEK.LOSSES",
        [],
        "call strings of LOSSES, each on one named embedding",
        SHAPES_MODEL,
        calls="losses",
    ),
    Key(
        "SEEK.CLASSES",
        "",
        'JSON {"labels": [...], "counts": [...]}; the trainer writes it beside the model',
        SHAPES_MODEL,
    ),
    Key(
        "SEEK.SCHEDULE",
        "",
        'call string of SCHEDULES; "" honors SOLVER.SCHED and its warm-up',
        SHAPES_MODEL,
        calls="schedules",
    ),
    Key(
        "SEEK.FREEZE",
        [],
        'parts of parameter names, "blocks(15)" or "norms": no gradient, BatchNorm statistics stay',
        SHAPES_MODEL,
    ),
    Key(
        "SEEK.RATES",
        [],
        '"part-of-name: factor" of the learning rate, the first that fits; "stage_decay: 0.5"',
        SHAPES_MODEL,
    ),
    Key(
        "SEEK.ACCUMULATE",
        1,
        "batches of SOLVER.IMS_PER_BATCH whose gradients make one update",
        SHAPES_MODEL,
        legal=COUNT,
    ),
    Key(
        "SEEK.FSDP",
        False,
        "share all weights out over the processes, for a model that fits no single GPU",
        RUNS,
    ),
    Key(
        "SEEK.EMA",
        0.0,
        "share that an update leaves of the moving average of the weights, which is evaluated and"
        " saved, such as 0.999; 0 keeps none",
        SHAPES_MODEL,
        legal=Range(0, 0.99999),
    ),
    Key(
        "SEEK.CHANNELS_LAST",
        False,
        "a Seeker's backbone holds the channels of a position side by side: faster convolutions on"
        " CPUs, and on GPUs in half precision; figures differ in rounding",
        SHAPES_MODEL,
    ),
    Key(
        "SEEK.STOP_AT",
        0,
        "training ends after this many epochs, with the schedule of MAX_EPOCH; 0 never",
        SHAPES_MODEL,
        legal=ATLEAST0,
    ),
    Key(
        "SEEK.ON_NAN",
        "stop",
        'a loss or gradient that is not finite: "stop", or "skip" that update, ten in a row at'
        " most",
        SHAPES_MODEL,
        legal=("stop", "skip"),
    ),
    Key(
        "SEEK.DROP",
        [],
        "parts of names in MODEL.WEIGHTS that are not taken over",
        SHAPES_MODEL,
    ),
    Key(
        "SEEK.FIT",
        "classes",
        'MODEL.WEIGHTS must fit "all", all but "classes", "grow" (the model may have more) or'
        ' "some"',
        SHAPES_MODEL,
        legal=("all", "classes", "grow", "some"),
    ),
    Key(
        "SEEK.HEAD.SUBCENTERS",
        3,
        "SubCenterArcFaceHead under fast-reid's Baseline: centers a class",
        SHAPES_MODEL,
    ),
    Key(
        "SEEK.HEAD.MARGIN",
        "",
        'its margin, "dynamic(0.05, 0.50)" (needs SEEK.CLASSES); "" takes MODEL.HEADS.MARGIN',
        SHAPES_MODEL,
    ),
    Key(
        "SEEK.SAMPLER",
        "",
        'call string of SAMPLERS; "" honors DATALOADER.SAMPLER_TRAIN',
        SHAPES_MODEL,
        calls="samplers",
    ),
    Key(
        "SEEK.TRAIN",
        [],
        "call strings of TRANSFORMS for training; [] honors fast-reid's INPUT flags",
        SHAPES_MODEL,
        calls="transforms",
    ),
    Key(
        "SEEK.TEST",
        [],
        "the same for embedding and evaluation",
        SHAPES_ANSWER,
        calls="transforms",
    ),
    Key(
        "SEEK.CROPS",
        "",
        "call string of CROPS: every image is seen a second time, cut there; for two_stream",
        SHAPES_MODEL,
        calls="crops",
    ),
    Key(
        "SEEK.CACHE",
        "",
        "folder that keeps what the first transforms of TRAIN and TEST give (those that draw"
        " nothing)",
        RUNS,
    ),
    Key(
        "SEEK.VIEWS",
        [],
        "call strings of VIEWS: test-time views",
        SHAPES_ANSWER,
        calls="views",
    ),
    Key(
        "SEEK.FOREGROUND",
        "",
        "\"foreground(at='s4', threshold=0.2)\": embed the part of an image the network looks at",
        SHAPES_ANSWER,
    ),
    Key(
        "SEEK.ENHANCE",
        [],
        "call strings of ENHANCERS, before the search",
        SHAPES_ANSWER,
        calls="enhance",
    ),
    Key(
        "SEEK.SEARCH",
        "exact(k=100)",
        "call string of SEARCHERS",
        SHAPES_ANSWER,
        calls="search",
    ),
    Key(
        "SEEK.RERANK",
        [],
        "call strings of RERANKERS, in order",
        SHAPES_ANSWER,
        calls="rerank",
    ),
    Key(
        "SEEK.EVALUATOR",
        "",
        'call string of EVALUATORS; "" searches the queries in the gallery',
        JUDGES,
        calls="evaluators",
    ),
    Key(
        "SEEK.METRICS",
        [],
        "call strings of METRICS; [] gives fast-reid's Rank-k, mAP, mINP",
        JUDGES,
        calls="metrics",
    ),
    Key(
        "SEEK.CLASS_METRICS",
        [],
        "call strings of CLASS_METRICS: the test images are classified too, and scored so",
        JUDGES,
        calls="classification",
    ),
    Key(
        "SEEK.VOTE",
        "probabilities",
        'what is averaged over views to classify: "probabilities" or "logits"',
        SHAPES_ANSWER,
        legal=("probabilities", "logits"),
    ),
    Key(
        "SEEK.EXPECT",
        [],
        '"map(100) 61.2 +- 0.5": a finished run outside ends with an error',
        RUNS,
    ),
    Key(
        "SEEK.ON_BAD",
        "skip",
        'an image that cannot be read: "skip" (named and counted) or "fail"',
        SHAPES_MODEL,
        legal=("skip", "fail"),
    ),
    Key(
        "SEEK.MAX_BAD",
        0.001,
        "training stops when more than this share (and more than 10) is bad, in one process",
        SHAPES_MODEL,
        legal=SHARE,
    ),
    Key(
        "SEEK.MAX_PIXELS",
        64_000_000,
        "larger images are refused before they are decoded",
        SHAPES_MODEL,
        legal=COUNT,
    ),
    Key(
        "SEEK.AMP_DTYPE",
        "fp16",
        'with SOLVER.AMP.ENABLED: "fp16" (scaled) or "bf16"',
        SHAPES_MODEL,
        legal=("fp16", "bf16"),
    ),
    Key(
        "SEEK.CHECKPOINT_MINUTES",
        10.0,
        "a checkpoint in the middle of an epoch at least this often",
        RUNS,
        legal=ATLEAST0,
    ),
    Key(
        "SEEK.KEEP_CHECKPOINTS",
        2,
        "how many of those stay, beside model_best and model_final",
        RUNS,
        legal=COUNT,
    ),
)

# fast-reid's keys by the beginning of their names; the longest that fits counts.
FASTREID: Mapping[str, Tag] = {
    "MODEL.": SHAPES_MODEL,
    "MODEL.DEVICE": RUNS,
    "KD.": SHAPES_MODEL,
    "INPUT.": SHAPES_MODEL,
    "INPUT.SIZE_TEST": SHAPES_ANSWER,
    "DATASETS.": SHAPES_MODEL,
    "DATASETS.TESTS": SHAPES_ANSWER,
    "DATALOADER.": SHAPES_MODEL,
    "DATALOADER.NUM_WORKERS": RUNS,
    "SOLVER.": SHAPES_MODEL,
    "SOLVER.CHECKPOINT_PERIOD": RUNS,
    "TEST.": SHAPES_ANSWER,
    "TEST.IMS_PER_BATCH": RUNS,
    "TEST.EVAL_PERIOD": JUDGES,
    "TEST.ROC.": JUDGES,
    # The last thing a training does: it overwrites the statistics of every BatchNorm.
    "TEST.PRECISE_BN.": SHAPES_MODEL,
    "OUTPUT_DIR": RUNS,
    "CUDNN_BENCHMARK": RUNS,
}
# What version 0.1 called a key; recipes may say it so until version 0.2.
OLD_KEYS: Mapping[str, str] = {"SEEK.FIGURES": "SEEK.CLASS_METRICS"}
_OWN_TAGS: Mapping[str, Tag] = {key.name: key.tag for key in OURS}


def list_keys(start: str = "") -> str:
    """Our keys as text: name, default, tag, what it means and what it may be.

    Args:
        start: only keys whose names begin so, such as "SEEK.R".

    Raises:
        UsageError: none does.
    """
    found = [key for key in OURS if key.name.startswith(start.upper())]
    if not found:
        hint = did_you_mean(start, [key.name for key in OURS])
        raise UsageError(
            f"no key of FastSeek begins with {start!r}{hint or '; leave it out for all'}"
        )
    rows = [(key.name, repr(key.default), key.tag, _describe_key(key)) for key in found]
    return align_columns([("KEY", "DEFAULT", "TAG", "WHAT IT IS"), *rows], left=(0, 1, 2, 3))


def _describe_key(key: Key) -> str:
    if key.calls:
        return f"{key.comment} (fastseek parts {key.calls})"
    if isinstance(key.legal, Range):
        return f"{key.comment} ({key.legal})"
    return f"{key.comment} ({', '.join(key.legal)})" if key.legal else key.comment


def add_seek_config(cfg: Any) -> None:
    """Add our keys with their defaults to a fast-reid CfgNode, in place, once.

    fast-reid's own reader passes over a key by its old name, and logs that it does.
    """
    if "SEEK" in cfg:
        return
    kind = type(cfg)
    for key in OURS:
        *groups, last = key.name.split(".")
        node = cfg
        for name in groups:
            node = node.setdefault(name, kind())
        node[last] = copy.deepcopy(key.default)
    for old in OLD_KEYS:
        cfg.register_deprecated_key(old)


def today_key(name: str) -> str:
    """The name of a key; a warning where version 0.1 called it so and today it is another."""
    if name not in OLD_KEYS:
        return name
    new = OLD_KEYS[name]
    message = f"the key {name} is called {new}; the old name goes with version 0.2"
    warnings.warn(message, DeprecationWarning, stacklevel=3)
    return new


def former_names(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by the names that version 0.1 had for the keys, for the digests it has written."""
    names = {new: old for old, new in OLD_KEYS.items()}
    return {names.get(name, name): value for name, value in settings.items()}


def tag_of(name: str) -> Tag:
    """What a key has a say in.

    A key that neither table knows is a plugin's: it counts as shaping the model, since training
    again costs time and a stale model costs a wrong result.
    """
    if name in _OWN_TAGS:
        return _OWN_TAGS[name]
    fits = [start for start in FASTREID if name.startswith(start)]
    return FASTREID[max(fits, key=len)] if fits else SHAPES_MODEL


def select_values(cfg: Mapping[str, Any], *tags: Tag) -> dict[str, Any]:
    """The values of all keys with one of these tags, by dotted name."""
    return {name: value for name, value in flatten(cfg).items() if tag_of(name) in tags}


def shaping(cfg: Mapping[str, Any]) -> dict[str, Any]:
    """The values of all keys that shape the model, by dotted name."""
    return select_values(cfg, SHAPES_MODEL)
