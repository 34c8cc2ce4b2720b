"""A linear layer that was fitted on labeled vectors of a frozen model."""

from __future__ import annotations

from ..knn.vectors import blocks
from ..registry import ENHANCERS
from ..structures import Embeddings
from ._blended_map import BlendedMap
from ._fits import SIDES, Fit
from ._sides import ROWS, allocate


@ENHANCERS.register()
class Adapter:
    """Vectors beside what a fitted linear layer makes of them, as `fastseek adapt` has written it.

    Vectors get length 1 before and after. The file tells how much the layer weighs against the
    vectors it was given. Memory: the layer, and one block beside the new vectors.

    Args:
        file: the .safetensors file.

    Raises:
        DataError: there is no such file, or it holds something else; or a vector is zero or not
            finite, then it names its id.
        ArtefactError: the file is damaged, or was fitted on vectors of another model or treatment.

    Source: Kordopatis-Zilos et al., ILIAS: Instance-Level Image Retrieval at Scale, CVPR 2025
    Example: adapter(file='adapter.safetensors')
    """

    not_in_call = ("file",)  # the digest of what was learned stands behind the call

    def __init__(self, file: str) -> None:
        self.file = file

    def __call__(self, queries: Embeddings, gallery: Embeddings) -> tuple[Embeddings, Embeddings]:
        """Both sides, float32 of length 1."""
        fit = Fit.load(self.file, "adapter")
        for side, name in zip((queries, gallery), SIDES, strict=True):
            fit.check(side, name)
        layer = map_of(fit)
        return _apply(layer, queries, fit.digest), _apply(layer, gallery, fit.digest)


def map_of(fit: Fit) -> BlendedMap:
    """The map that a fit of kind "adapter" holds."""
    arrays = fit.arrays
    return BlendedMap(arrays["mean"], arrays["directions"], float(arrays["blend"][0]))


def _apply(layer: BlendedMap, side: Embeddings, digest: str) -> Embeddings:
    vectors = allocate(len(side), layer.dim)
    for here, block in blocks(side, "cosine", ROWS):
        vectors[here] = layer(block)
    return Embeddings(side.ids, vectors, {"fit": digest})
