"""Fusers: many rankings of the same queries to one."""

from ._tune import Tuned, tune

__all__ = ["Tuned", "tune"]
