"""Class probabilities to scores and decisions; knows no model."""

from .class_labels import class_numbers
from .scoring import evaluate

__all__ = ["class_numbers", "evaluate"]
