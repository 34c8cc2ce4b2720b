"""FastSeek: instance-level image retrieval on top of fast-reid.

Its names are the Python API (see `fastseek.api`) and `register(cfg)`, the one door for fast-reid.
They are imported when they are first asked for, so that `import fastseek` costs nothing and the
retrieval half starts without fast-reid and torch.
"""

from __future__ import annotations

import sys
from types import ModuleType

# Every command starts here, and `typing` is a fifth of the start of its help.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from inspect import Signature
    from typing import Any

    from .api.benchmarking import bench
    from .api.embedding import embed, load_model
    from .api.inputs import load_embeddings, load_truth
    from .api.listing import PartInfo, load_recipe, parts
    from .api.living_index import Index
    from .api.shown import Shown, show
    from .api.verbs import adapt, evaluate, fuse, rerank, search
    from .config.plugins import register
    from .errors import ArtefactError, DataError, FastSeekError, RunError, UsageError
    from .structures import Answer, Embeddings, GroundTruth, Ranking, Score

__version__ = "0.1.0"

__all__ = [
    "Answer",
    "ArtefactError",
    "DataError",
    "Embeddings",
    "FastSeekError",
    "GroundTruth",
    "Index",
    "PartInfo",
    "Ranking",
    "RunError",
    "Score",
    "Shown",
    "UsageError",
    "__version__",
    "adapt",
    "bench",
    "embed",
    "evaluate",
    "fuse",
    "load_embeddings",
    "load_model",
    "load_recipe",
    "load_truth",
    "parts",
    "register",
    "rerank",
    "search",
    "show",
]
# Rooms of parts that are called as the verbs of the API: fastseek.search is a package, and
# fastseek.search(queries, gallery) ranks.
VERBS = ("adapt", "fuse", "rerank", "search")


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    if name in VERBS:
        return import_module(f".{name}", __name__)
    room = ".config.plugins" if name == "register" else ".api"
    return getattr(import_module(room, __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _VerbRoom(ModuleType):
    # Of itself it says what the function says, so that help(fastseek.search) helps.
    __doc__ = property(lambda self: self._describe())

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._verb(*args, **kwargs)

    @property
    def __signature__(self) -> Signature:
        import inspect

        return inspect.signature(self._verb)

    def _describe(self) -> str:
        import inspect

        name = self.__name__.rpartition(".")[2]
        return f"{name}{self.__signature__}\n\n{inspect.getdoc(self._verb)}"

    @property
    def _verb(self) -> Any:
        from . import api

        return getattr(api, self.__name__.rpartition(".")[2])


class _Package(ModuleType):
    """This package: the import system sets its rooms as attributes, and some are also verbs."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name in VERBS and type(value) is ModuleType:
            value.__class__ = _VerbRoom
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
