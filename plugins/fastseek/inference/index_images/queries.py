"""The model of an index, and images as queries for it."""

from __future__ import annotations

import numpy as np

from ...data.own_images import images_of
from ...data.rejects import Reject
from ...errors import DataError, UsageError
from ...index import Store
from ...io.model_names import anchor_name
from ...io.paths import PathLike
from ...structures import Embeddings
from ..pretrained import ImageModel, ModelOptions, embed_batches, in_memory, join_parts

USUAL = ModelOptions()


def load_model_of(index: Store, name: str = "", options: ModelOptions = USUAL) -> ImageModel:
    """The model that embeds the images of an index.

    Args:
        index: an index; it remembers the model it was made for.
        name: a model, where the index knows none.
        options: how it is run; as it was for the images that are there, where neither pooling nor
            size nor precision is said.

    Raises:
        UsageError: no model is known, or another one is named than the index is made for.
        ArtefactError: the model is not the one that embedded the index.
    """
    remembered = str(index.provenance.get("name", ""))
    if not (name or remembered):
        raise UsageError(
            f"{index.name} does not tell the model of its vectors: name it with --model, in Python"
            " with model="
        )
    if name and remembered and anchor_name(name) != anchor_name(remembered):
        raise UsageError(
            f"{index.name} is made for the model {remembered}, not {name}: leave --model out, or"
            " migrate the index to the other model"
        )
    known = remembered or name
    if options.pooling or options.size or options.precision:
        model = in_memory.load_kept(known, options)
    else:
        before = index.provenance if index.dim else {}
        model = in_memory.load_as_before(known, before, options)
    index.check_fits(
        Embeddings(np.zeros(0, str), np.zeros((0, model.dim), np.float32), model.provenance)
    )
    return model


def embed_queries(
    images: PathLike, model: ImageModel, threads: int = 0
) -> tuple[Embeddings, dict[str, str], list[Reject]]:
    """Images as queries, the file of each by its id, and those that could not be read.

    Raises:
        DataError: nothing is there, or no image can be read; names the first.
    """
    items, root = images_of(images)
    tuned = model.tuned(len(items))
    parts = embed_batches(tuned, items, threads=threads)
    ids, vectors, rejects = join_parts(parts, tuned.dim)
    if not ids:
        first = rejects[0]
        raise DataError(
            f"{first['path']}: {first['code']}: {first['detail']}; none of {len(items)} queries can"
            " be read: mend or replace them"
        )
    made = Embeddings(np.array(ids), vectors, {**tuned.provenance, "root": root})
    return made, {item.id: item.path for item in items}, rejects
