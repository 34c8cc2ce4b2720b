"""What a recipe leaves to whoever trains and evaluates, and how a model notices that nobody does
it.

fast-reid's own trainer and loaders know nothing of SEEK. Under them a sampler, a schedule or a
metric of the recipe would do nothing, and a loss that waits for a certain step would wait for ever,
all without a word. A model of ours asks before it works.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import nn

from ... import compat  # noqa: F401  (before anything that imports fastreid)
from ...errors import UsageError
from .gather import has_several_processes
from .part_protocols import ChecksImages, FollowsSteps, KnowsLength

from fastreid.utils.events import get_event_storage

# Keys of SEEK with the values that ask for nothing, by who follows them.
LOADER: Mapping[str, Any] = {
    "SAMPLER": "",
    "TRAIN": [],
    "CROPS": "",
    "CACHE": "",
    "ON_BAD": "skip",
    "MAX_BAD": 0.001,
    "MAX_PIXELS": 64_000_000,
}
TRAINER: Mapping[str, Any] = {
    "SCHEDULE": "",
    "FREEZE": [],
    "RATES": [],
    "ACCUMULATE": 1,
    "EMA": 0.0,
    "FSDP": False,
    "STOP_AT": 0,
    "ON_NAN": "stop",
    "DROP": [],
    "FIT": "classes",
    "AMP_DTYPE": "fp16",
    "EXPECT": [],
}
EVALUATION: Mapping[str, Any] = {
    "TEST": [],
    "VIEWS": [],
    "FOREGROUND": "",
    "ENHANCE": [],
    "SEARCH": "exact(k=100)",
    "RERANK": [],
    "EVALUATOR": "",
    "METRICS": [],
    "CLASS_METRICS": [],
    "VOTE": "probabilities",
}
REMEDY = (
    "add the parts of fastseek.training to that trainer (docs/upstream.md: two lines), or train"
    " with `fastseek train`"
)


def keys_set(cfg: Any, *tables: Mapping[str, Any]) -> list[str]:
    """The keys of these tables that a recipe sets, such as "SEEK.SAMPLER"."""
    return [
        f"SEEK.{key}"
        for table in tables
        for key, nothing in table.items()
        if cfg.SEEK[key] != nothing
    ]


def asks_for_sync(cfg: Any) -> bool:
    """Whether a Seeker's batch norms are to take their statistics over all processes; fast-reid's own
    architectures are built so.
    """
    norms = (cfg.MODEL.BACKBONE.NORM, cfg.MODEL.HEADS.NORM)
    return cfg.MODEL.META_ARCHITECTURE == "Seeker" and "syncBN" in norms


def has_own_norms(model: nn.Module) -> bool:
    """Whether a batch norm of the model takes the statistics of one process of several."""
    norms = [one for one in model.modules() if isinstance(one, nn.modules.batchnorm._BatchNorm)]
    own = any(not isinstance(one, nn.SyncBatchNorm) for one in norms)
    return own and has_several_processes()


def needs_steps(module: nn.Module) -> bool:
    """Whether what a module does depends on the number of the step.

    One with `at_step` does, unless its `needs_steps` says that it would do the same in every step.
    """
    return isinstance(module, FollowsSteps) and bool(getattr(module, "needs_steps", True))


def announce_step(modules: Iterable[nn.Module], step: int) -> None:
    """Tell every module that follows the training the number of the step that comes."""
    for module in modules:
        if isinstance(module, FollowsSteps):
            module.at_step(step)


def announce_length(modules: Iterable[nn.Module], steps: int) -> None:
    """Tell every module that asks for it how many steps the training has."""
    for module in modules:
        if isinstance(module, KnowsLength):
            module.start_training(steps)


def announce_images(modules: Iterable[nn.Module], items: Iterable[Any]) -> None:
    """Tell every module that asks for it the ids of the training images.

    Args:
        modules: of the model.
        items: the training images, which have an `id`; gone through only where it is asked for.
    """
    asking = [module for module in modules if isinstance(module, ChecksImages)]
    ids = [item.id for item in items] if asking else []
    for module in asking:
        module.check_images(ids)


class TrainerContract(nn.Module):
    """What a model asks before it works; it holds no weights.

    Whoever trains calls `at_step` with the number of every step before it, as of every module that
    has it; whoever evaluates with the recipe's own parts sets `evaluated`.

    Args:
        cfg: the recipe.
    """

    needs_steps = False

    def __init__(self, cfg: Any) -> None:
        super().__init__()
        self.for_loader = keys_set(cfg, LOADER)
        self.for_trainer = keys_set(cfg, LOADER, TRAINER, EVALUATION)
        self.for_evaluation = keys_set(cfg, EVALUATION, {"CROPS": "", "CACHE": ""})
        self.sync = asks_for_sync(cfg)
        self.step: int | None = None
        self.evaluated = False

    def at_step(self, step: int) -> None:
        """Note the number of the training step, and so that somebody tells it."""
        self.step = step

    def check_training(self, model: nn.Module, batch: Any = None) -> None:
        """Whether a training step may be taken.

        Args:
            model: all of it.
            batch: of the step, where the model sees it.

        Raises:
            UsageError: a part waits for the number of the step and nobody tells it, the trainer is
                not one that follows the recipe, or the batch is not by the recipe's loader.
        """
        if self.for_loader and _is_foreign(batch, "ids"):
            self._refuse(
                self.for_loader, "nothing here: the batch comes from a loader that does not read it"
            )
        if self.step is not None:
            return
        waiting = sorted(
            {type(module).__name__ for module in model.modules() if needs_steps(module)}
        )
        if waiting:
            raise UsageError(
                f"{', '.join(waiting)} changes with the training step, and this trainer tells no"
                f" step: {REMEDY}"
            )
        if self.sync and has_own_norms(model):
            self._refuse(["NORM syncBN"], "nothing where fast-reid alone builds a Seeker")
        if self.for_trainer and _in_trainer():
            self._refuse(
                self.for_trainer, "nothing under this trainer, which does not read FastSeek's keys"
            )

    def check_evaluation(self, batch: Any) -> None:
        """Whether a batch may be embedded.

        Raises:
            UsageError: it comes from a test loader that knows nothing of what the recipe asks for.
        """
        if self.for_evaluation and not self.evaluated and _is_foreign(batch, "rows"):
            self._refuse(
                self.for_evaluation,
                "nothing in this evaluation: its test loader does not read FastSeek's keys",
            )

    def _refuse(self, keys: list[str], why: str) -> None:
        does = "does" if len(keys) == 1 else "do"
        raise UsageError(f"the recipe sets {', '.join(keys)}, which {does} {why}; {REMEDY}")


def _is_foreign(batch: Any, mark: str) -> bool:
    """Whether a loader of others made the batch: ours put `mark` beside the paths."""
    return isinstance(batch, Mapping) and "img_paths" in batch and mark not in batch


def _in_trainer() -> bool:
    """Whether this runs inside fast-reid's training loop, which keeps a storage open."""
    try:
        get_event_storage()
    except AssertionError:
        return False
    return True
