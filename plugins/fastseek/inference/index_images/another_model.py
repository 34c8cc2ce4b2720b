"""A model as what an index is migrated to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ...index.migration import NewModel
from ...progress import progress
from ...structures import Item
from ..pretrained import ImageModel, count_images, embed_batches


def make_new_model(model: ImageModel, threads: int = 0) -> NewModel:
    """A model that embeds the files of an index anew; those that cannot be read are left out.

    Args:
        model: what `load_model` gave.
        threads: that read images; 0 chooses.
    """

    def embed(ids: Sequence[str], paths: Sequence[str]) -> Iterator[tuple[list[str], np.ndarray]]:
        pairs = zip(ids, paths, strict=True)
        items = [Item(path=path, id=name) for name, path in pairs if path]
        parts = embed_batches(model.tuned(len(items)), items, threads=threads)
        for names, vectors, _ in progress(
            parts, "migrating", len(items), unit="images", count=count_images
        ):
            if names:
                yield names, vectors

    return NewModel(model.dim, dict(model.provenance), embed)
