"""A plan of rounds: the steps that learn from unlabelled images, over and over."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta, field

from ...config import recipe
from ...config.sources import Setting, flat_settings
from ...io.paths import PathLike
from ...io.spec_reader import Calls, Spec, check_calls, check_name, convert, read_spec
from ...io.yaml_lines import Document
from ...registry import CLASS_METRICS, ENHANCERS
from ..plan.spec import NONE, PREVIOUS, find_step_recipe, is_weight_file

LABELLED = "labelled"
# step -> steps one of which comes before
NEEDS = {
    "embed": ("train",),
    "classify": ("train",),
    "cluster": ("embed",),
    "recluster": ("embed",),
    "select": ("cluster", "recluster"),
    "pseudo": ("classify",),
}
Share = float | Annotated[tuple[float, ...], Meta(min_length=1)]  # one, or one for every round


class StepSpec(Spec, frozen=True, kw_only=True, tag_field="DO"):
    """What every entry of STEPS may say; see `read_rounds`.

    A key that is None where none was given leaves its value to the algorithm.
    """

    NOUN: ClassVar[str] = "a step"
    name: str
    once: bool = False
    note: str = ""


class TrainSpec(StepSpec, frozen=True, kw_only=True, tag="train"):
    """Train a model."""

    images: tuple[str, ...] = field(default=(LABELLED,), name="PHOTOS")
    recipe: str = ""
    set: dict[str, Any] = {}
    source: str = field(default=PREVIOUS, name="FROM")
    drop: tuple[str, ...] = ()


class EmbedSpec(StepSpec, frozen=True, kw_only=True, tag="embed"):
    """Embed all images with the last model."""

    set: dict[str, Any] = {}


class ClassifySpec(StepSpec, frozen=True, kw_only=True, tag="classify"):
    """Classify the unlabelled and the validation images with the last model."""

    set: dict[str, Any] = {}


class ClusterSpec(StepSpec, frozen=True, kw_only=True, tag="cluster"):
    """Cluster all images."""

    groups: bool = True
    enhance: Calls = ()
    method: Literal["kmeans", "hdbscan", "graph"] | None = None
    per: float | None = None
    niter: int | None = None
    least: int | None = None


class ReclusterSpec(StepSpec, frozen=True, kw_only=True, tag="recluster"):
    """Cluster around the classes: all images, or those a step has chosen."""

    groups: bool = True
    enhance: Calls = ()
    images: str | None = field(default=None, name="PHOTOS")
    per: float | None = None
    niter: int | None = None


class SelectSpec(StepSpec, frozen=True, kw_only=True, tag="select"):
    """Choose among the last clusters."""

    size: tuple[int, int] | None = None
    compact: float | None = None
    margin: float | None = None
    purity: float | None = None
    labelled: int | None = None
    cap: int | None = None


class PseudoSpec(StepSpec, frozen=True, kw_only=True, tag="pseudo"):
    """Choose among the last predictions."""

    threshold: Share = 0.95
    quantile: Share = 0.0
    cap: int | None = None
    prototype: float = 5
    groups: bool = True
    calibrate: bool = True


AnyStep = (
    TrainSpec | EmbedSpec | ClassifySpec | ClusterSpec | ReclusterSpec | SelectSpec | PseudoSpec
)


class DataSpec(Spec, frozen=True, kw_only=True):
    """DATA: which images have labels, which have none."""

    NOUN: ClassVar[str] = "DATA"
    labelled: str = ""
    unlabelled: str = ""
    split: Literal["train", "query", "gallery"] = "train"
    test: str = ""
    test_data: bool = False
    hide: str = ""
    classes: float = 0.5
    shots: Annotated[tuple[int, ...], Meta(min_length=1, max_length=2)] = (3, 12)
    folder: int | None = None


class StopSpec(Spec, frozen=True, kw_only=True):
    """STOP: when rounds end."""

    NOUN: ClassVar[str] = "STOP"
    gain: float = 0.002
    changed: float = 0.0


class ShortSpec(Spec, frozen=True, kw_only=True):
    """SHORT: what holds above all else for a quick look."""

    NOUN: ClassVar[str] = "SHORT"
    rounds: Annotated[int, Meta(ge=1)] | None = None
    set: dict[str, Any] = {}
    data: DataSpec = DataSpec()


class RoundsSpec(Spec, frozen=True, kw_only=True):
    """A plan of rounds as it stands in the file; see `read_rounds`."""

    NOUN: ClassVar[str] = "a plan of rounds"
    RENAMED: ClassVar[Mapping[str, str]] = {"FIGURES": "CLASS_METRICS"}
    name: str = ""
    note: str = ""
    seed: int = 0
    recipe: str = ""
    changes: dict[str, Any] = field(default_factory=dict, name="SET")
    data: DataSpec = DataSpec()
    rounds: Annotated[int, Meta(ge=1)] = 1
    stop: StopSpec = StopSpec()
    class_metrics: Calls = ("top(1)",)
    short: ShortSpec | None = None
    steps: tuple[AnyStep, ...] = ()


@dataclasses.dataclass(frozen=True)
class RoundStep:
    """One step of a round.

    Args:
        spec: its keys.
        given: those of them that stand in the file, as they stand there.
        settings: what it changes in the recipe.
        recipe: the recipe file of a training.
        where: file and line.
    """

    spec: AnyStep
    given: Mapping[str, Any]
    settings: tuple[Setting, ...]
    recipe: str
    where: str

    @property
    def name(self) -> str:
        """Its folder."""
        return self.spec.name

    @property
    def kind(self) -> str:
        """train, embed, classify, cluster, select, pseudo or recluster."""
        return str(self.spec.__struct_config__.tag)


@dataclasses.dataclass(frozen=True)
class RoundsPlan:
    """What a plan of rounds says, with its SHORT where that is wanted.

    Args:
        path: the file.
        name: heading.
        seed: of everything drawn.
        data: its images.
        rounds: how many at most.
        stop: when fewer will do: STOP.gain is a share, STOP.changed too, 0 for never.
        class_metrics: call strings of CLASS_METRICS; the first is the one a gain is measured in.
        steps: of a round, in order.
    """

    path: str
    name: str
    seed: int
    data: DataSpec
    rounds: int
    stop: StopSpec
    class_metrics: tuple[str, ...]
    steps: tuple[RoundStep, ...]


def read_rounds(file: PathLike, short: bool = False) -> RoundsPlan:
    """Read a plan of rounds.

        NAME: semi                         RECIPE: ../configs/x.yml, of the trainings that name none
        SEED: 0                            SET: {KEY: VALUE}, for all trainings
        DATA:
          LABELLED: "manifest('a.csv')"    its "train" images have labels, its "query" images validate
          UNLABELLED: "manifest('b.csv')"  labels in it are never learned from, they only measure
          SPLIT: train                     which images of UNLABELLED
          TEST: "manifest('test.csv')"     the images of the task's test, if it has a list of them
          TEST_DATA: false                 whether they, and those that validate, may be learned from: without it
                                           they are refused, under whatever name, link or copy
        or, to measure what labels are worth: DATA: {HIDE: "Grocery", CLASSES: 20, SHOTS: [3, 12], FOLDER: 1}, see
        `self_training.simulate_unlabelled.hide`
        ROUNDS: 3                          STOP: {GAIN: 0.002, CHANGED: 0.01}
        CLASS_METRICS: ["top(1)"]          SHORT: {ROUNDS: 1, SET: {…}, DATA: {…}}, above all else with --short
        STEPS:
          - {NAME: start, DO: train, PHOTOS: [labelled], FROM: none, ONCE: true}
          - {NAME: embed, DO: embed, SET: {SEEK.VIEWS: ["scale(1.2)"]}}
          - {NAME: clusters, DO: cluster, PER: 60, METHOD: kmeans, GROUPS: true, ENHANCE: ["whiten(dim=256)"]}
          - {NAME: kept, DO: select, SIZE: [10, 500], COMPACT: 20, MARGIN: 20, PURITY: 0.5, CAP: 200}
          - {NAME: pretrained, DO: train, PHOTOS: [kept], FROM: none}
          - {NAME: classify, DO: classify}
          - {NAME: pseudo, DO: pseudo, THRESHOLD: [0.95, 0.9], PROTOTYPE: 5, CALIBRATE: true}
          - {NAME: again, DO: recluster, PHOTOS: pseudo, PER: 60}

    A step works on what the last step before it has made, from the round before if need be: `cluster` and `recluster`
    on the last `embed`, `select` on the last of those two, `pseudo` on the last `classify` and `embed`. A list of
    THRESHOLD or QUANTILE has one for every round, the last holds on; QUANTILE 0 leaves it to the threshold.

    Args:
        file: the plan.
        short: with its SHORT.

    Raises:
        UsageError: the file cannot be read, or a key, value, recipe or order of steps is wrong; names file and line.
    """
    spec, document = read_spec(file, RoundsSpec)
    if short and spec.short is None:
        raise document.error("", "the plan has no SHORT, so --short would change nothing")
    above = (spec.short if short else None) or ShortSpec()
    if not spec.class_metrics:
        raise document.error("CLASS_METRICS", "CLASS_METRICS is empty: name one at least")
    return RoundsPlan(
        path=document.path,
        name=spec.name or pathlib.Path(file).stem,
        seed=spec.seed,
        data=_data(document, short),
        rounds=above.rounds or spec.rounds,
        stop=spec.stop,
        class_metrics=check_calls(document, "CLASS_METRICS", spec.class_metrics, CLASS_METRICS),
        steps=_read_steps(document, spec, flat_settings(document, "SHORT.SET.") if short else []),
    )


def _data(document: Document, short: bool) -> DataSpec:
    values = document.values
    above = values.get("SHORT", {}).get("DATA", {}) if short else {}
    data = convert(document, {**values.get("DATA", {}), **above}, DataSpec, "DATA")
    pair = bool(data.labelled) + bool(data.unlabelled)
    if pair != (0 if data.hide else 2):
        told = "DATA names either LABELLED and UNLABELLED, or HIDE, the data set whose labels are"
        raise document.error("DATA", f"{told} hidden")
    return data


def _read_steps(
    document: Document, spec: RoundsSpec, above: Sequence[Setting]
) -> tuple[RoundStep, ...]:
    if not spec.steps:
        raise document.error("STEPS", "STEPS is missing or empty: a round has at least one step")
    made: list[RoundStep] = []
    for number, one in enumerate(spec.steps):
        key = f"STEPS[{number}]"
        taken = (NONE, PREVIOUS, LABELLED, *(step.name for step in made))
        check_name(document, f"{key}.NAME", one.name, taken)
        if isinstance(one, ClusterSpec | ReclusterSpec):
            check_calls(document, f"{key}.ENHANCE", one.enhance, ENHANCERS)
        settings, file = flat_settings(document, f"{key}.SET."), ""
        if isinstance(one, TrainSpec):
            settings = [*flat_settings(document, "SET."), *settings, *above]
            file = find_step_recipe(document, key, one.name, one.recipe, spec.recipe)
        given = document.values["STEPS"][number]
        step = RoundStep(one, given, tuple(settings), file, document.where(key))
        _check_order(document, key, step, made)
        made.append(step)
    return tuple(made)


def _check_order(
    document: Document, key: str, step: RoundStep, before: Sequence[RoundStep]
) -> None:
    """Check that what a step rests on comes before it, and that the recipe of a training is legal.

    Raises:
        UsageError: it does not, or is not; names file and line.
    """
    one, kinds = step.spec, {earlier.kind for earlier in before}
    if step.kind in NEEDS and not kinds & set(NEEDS[step.kind]):
        needed = " or ".join(NEEDS[step.kind])
        raise document.error(key, f"{step.kind} needs a step before it that does {needed}")
    if isinstance(one, PseudoSpec) and one.prototype and "embed" not in kinds:
        told = "the prototype test needs an embed step before it (or PROTOTYPE: 0)"
        raise document.error(key, told)
    choices = [earlier.name for earlier in before if earlier.kind in ("select", "pseudo")]
    if isinstance(one, ReclusterSpec) and one.images not in (None, *choices):
        told = f"PHOTOS {one.images!r} is no select or pseudo step before it"
        raise document.error(f"{key}.PHOTOS", told)
    if isinstance(one, TrainSpec):
        _check_training(document, key, one, choices, before)
        recipe.load(step.recipe, (), step.settings)


def _check_training(
    document: Document,
    key: str,
    one: TrainSpec,
    choices: Sequence[str],
    before: Sequence[RoundStep],
) -> None:
    unknown = [name for name in one.images if name not in (LABELLED, *choices)]
    if unknown or not one.images:
        known = ", ".join(choices) or "there is none"
        told = f"PHOTOS are {LABELLED} or select and pseudo steps before ({known})"
        raise document.error(f"{key}.PHOTOS", f"{told}, got {list(one.images)}")
    trainings = [earlier.name for earlier in before if earlier.kind == "train"]
    if one.source not in (NONE, PREVIOUS, *trainings) and not is_weight_file(one.source):
        known = ", ".join(trainings) or "there is none"
        told = f"FROM {one.source!r} is no training before it ({known}), no weight file, and"
        raise document.error(f"{key}.FROM", f"{told} neither none nor previous")


def given_values(spec: AnyStep, *names: str) -> dict[str, Any]:
    """The values of some keys of a step, but for those that are left to the algorithm."""
    values = {name: getattr(spec, name) for name in names}
    return {name: value for name, value in values.items() if value is not None}
