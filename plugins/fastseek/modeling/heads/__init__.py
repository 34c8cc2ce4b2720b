"""Heads in fast-reid's own registry: they work under its stock `Baseline` and trainer."""

from .bnneck_head import BNNeckHead
from .subcenter_arcface_head import SubCenterArcFaceHead

__all__ = ["BNNeckHead", "SubCenterArcFaceHead"]
