"""Work of several steps: a run, plans, contests, ablations, self-training."""

from .. import compat  # noqa: F401  (before anything that imports fastreid)
