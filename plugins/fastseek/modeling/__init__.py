"""Networks: backbones, blocks, branches, heads, losses, and the model that joins them."""

from .. import compat  # noqa: F401  (before anything that imports fastreid)
