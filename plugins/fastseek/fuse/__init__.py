"""Fusers: many rankings of the same queries to one."""

from ._tune import Tuning, tune

__all__ = ["Tuning", "tune"]
