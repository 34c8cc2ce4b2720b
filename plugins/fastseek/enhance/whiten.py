"""Whitening."""

from __future__ import annotations

from ..registry import ENHANCERS
from .pca import Pca


@ENHANCERS.register()
class Whiten(Pca):
    """Principal components with variance 1 each: `pca(whiten=True)` by its own name, and with the
    same files.

    Args:
        dim: how many directions are kept; all that vary when None.
        fit: "gallery" or "queries", the set, or a file that `save` has written.
        save: .safetensors file to keep the directions in; "" for none.

    Raises:
        UsageError, DataError, ArtefactError: as for `pca`.

    Source: Jégou and Chum, Negative Evidences and Co-occurrences in Image Retrieval, ECCV 2012
    Example: whiten(dim=256)
    """

    keeps_base_call = True  # `pca(whiten=True)`, so that vectors of both meet

    def __init__(self, dim: int | None = None, fit: str = "gallery", save: str = "") -> None:
        super().__init__(dim, True, fit, save)
