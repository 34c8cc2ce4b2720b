"""Networks: backbones, blocks, branches, heads, losses, and the model that joins them.

What needs fast-reid imports `compat` itself, so that the plain layers work without it.
"""
