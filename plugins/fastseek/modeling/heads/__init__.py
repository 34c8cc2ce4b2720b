"""Heads in fast-reid's own registry: they work under its stock `Baseline` and trainer."""

from ...registry import import_parts

import_parts(__name__, __path__)
