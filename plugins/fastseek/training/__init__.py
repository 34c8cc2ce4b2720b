"""Training inside fast-reid's trainer."""

from .. import compat  # noqa: F401  (before anything that imports fastreid)
