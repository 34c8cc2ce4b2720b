"""Registries of parts with their contracts, call strings, and `build`, which joins the two."""

from __future__ import annotations

import warnings
from typing import Any

from .calls import (
    parse,
    pick,
    recipe_name,
    spell_call,
    suggest_names,
    takes,
    unparse,
    whole_argument,
)
from .docstrings import Docstring, split_docstring
from .loading import import_parts, import_plugin, load_plugins, part_files
from .members import Part, Registry, build
from .part_texts import Argument, read_arguments, read_docstrings
from .protocols import (
    Adapter,
    BorrowingTransform,
    ClassMetric,
    Crop,
    Dataset,
    Enhancer,
    EvaluationProtocol,
    FileReadingTransform,
    FixedTransform,
    Fuser,
    Metric,
    Reranker,
    Sampler,
    Schedule,
    ScoredDataset,
    Searcher,
    ShowsCorners,
    TaskedDataset,
    Transform,
)
from .registries import (
    ADAPTERS,
    BACKBONES,
    BLOCKS,
    BRANCHES,
    CLASS_METRICS,
    CROPS,
    DATASETS,
    ENHANCERS,
    EVALUATORS,
    FUSERS,
    LOSSES,
    METRICS,
    PROTOCOLS,
    RERANKERS,
    SAMPLERS,
    SCHEDULES,
    SEARCHERS,
    TRANSFORMS,
    VIEWS,
    registries,
)

__all__ = [
    "ADAPTERS",
    "Adapter",
    "Argument",
    "BACKBONES",
    "BLOCKS",
    "BRANCHES",
    "BorrowingTransform",
    "CLASS_METRICS",
    "CROPS",
    "ClassMetric",
    "Crop",
    "DATASETS",
    "Dataset",
    "Docstring",
    "ENHANCERS",
    "EVALUATORS",
    "Enhancer",
    "EvaluationProtocol",
    "FUSERS",
    "FileReadingTransform",
    "FixedTransform",
    "Fuser",
    "LOSSES",
    "METRICS",
    "Metric",
    "PROTOCOLS",
    "Part",
    "RERANKERS",
    "Registry",
    "Reranker",
    "SAMPLERS",
    "SCHEDULES",
    "SEARCHERS",
    "Sampler",
    "Schedule",
    "ScoredDataset",
    "Searcher",
    "ShowsCorners",
    "TaskedDataset",
    "TRANSFORMS",
    "Transform",
    "VIEWS",
    "build",
    "import_parts",
    "import_plugin",
    "load_plugins",
    "parse",
    "part_files",
    "pick",
    "read_arguments",
    "read_docstrings",
    "recipe_name",
    "registries",
    "spell_call",
    "split_docstring",
    "suggest_names",
    "takes",
    "unparse",
    "whole_argument",
]

# What version 0.1 called them; the old names go with version 0.2.
OLD_NAMES = {"FIGURES": "CLASS_METRICS"}


def __getattr__(name: str) -> Any:
    if name not in OLD_NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    new = OLD_NAMES[name]
    message = f"fastseek.registry.{name} is called {new}; the old name goes with 0.2"
    warnings.warn(message, DeprecationWarning, stacklevel=2)
    return globals()[new]
