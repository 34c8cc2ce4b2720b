"""Work of several steps: a run, plans, contests, ablations, self-training."""

from .. import compat  # before anything that imports fastreid
