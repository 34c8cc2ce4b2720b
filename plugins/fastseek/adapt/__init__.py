"""Adapters: a linear layer fitted on stored vectors, judged on classes it has not seen."""

from ._fitting import Adapted, Trying, check_harmless, fit_adapter

__all__ = ["Adapted", "Trying", "check_harmless", "fit_adapter"]
