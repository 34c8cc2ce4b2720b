"""Fusers: many rankings of the same queries to one."""

from ..registry import import_parts
from .tune import Tuned, tune

import_parts(__name__, __path__)

__all__ = ["Tuned", "tune"]
