"""Networks: backbones, blocks, branches, heads, losses, and the model that joins them."""

from .. import compat  # before anything that imports fastreid
