"""Precisions in which all pairs are compared: a scan proposes, exact scores decide."""

from .choice import SCANS, choose
from .codes import Codes, Scan

__all__ = ["Codes", "SCANS", "Scan", "choose"]
