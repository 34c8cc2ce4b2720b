"""Adapters: a linear layer fitted on stored vectors, judged on classes it has not seen."""

from ._fitting import METHODS, Adapted, Trying, check_harmless, fit_adapter
from ._judgement import describe_unfit

__all__ = ["METHODS", "Adapted", "Trying", "check_harmless", "describe_unfit", "fit_adapter"]
