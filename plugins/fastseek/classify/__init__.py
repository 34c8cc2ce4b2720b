"""Class probabilities to scores and decisions; knows no model."""

from ..registry import import_parts
from .scoring import evaluate
from .truths import class_numbers

import_parts(__name__, __path__)

__all__ = ["class_numbers", "evaluate"]
