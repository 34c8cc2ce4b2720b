"""Training inside fast-reid's trainer."""

from .. import compat  # before anything that imports fastreid
