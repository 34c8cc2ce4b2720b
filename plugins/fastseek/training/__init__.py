"""Training inside fast-reid's trainer, and what that trainer needs to follow a recipe of FastSeek.

The names below are imported when they are first asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .. import compat  # before anything that imports fastreid

if TYPE_CHECKING:
    from .evaluation import evaluate_tests, run_evaluator
    from .upstream import (
        PartsHook,
        WithParts,
        build_evaluator,
        build_optimizer,
        build_test_loader,
        build_train_loader,
    )

_HOME = {
    "PartsHook": "upstream",
    "WithParts": "upstream",
    "build_evaluator": "upstream",
    "build_optimizer": "upstream",
    "build_test_loader": "upstream",
    "build_train_loader": "upstream",
    "evaluate_tests": "evaluation",
    "run_evaluator": "evaluation",
}

__all__ = [
    "PartsHook",
    "WithParts",
    "build_evaluator",
    "build_optimizer",
    "build_test_loader",
    "build_train_loader",
    "evaluate_tests",
    "run_evaluator",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
