"""Many processes as one run: launching, talking, devices, and the lock of a run's folder."""

from .. import compat  # before anything that imports fastreid
