"""Training, evaluation and embedding: the only place that knows the order of the work."""

from .. import compat  # noqa: F401  (before torch and fastreid: what is missing is said in one line)
