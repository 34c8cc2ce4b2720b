"""Images to embeddings that are kept nowhere, by a model by name or by the one of other embeddings."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...errors import DataError
from ...progress import progress
from ...structures import Embeddings, Item
from ...structures.provenance import first_difference
from .embed import embed_batches, join_parts
from .image_model import ImageModel
from .load import load_model
from .options import PRECISIONS, ModelOptions

USUAL = ModelOptions()


def embed_in_memory(
    model: ImageModel, items: Sequence[Item], root: str, threads: int = 0
) -> Embeddings:
    """Embed items whose ids are relative to `root`.

    Args:
        model: what `load_model` gave.
        items: at least one.
        root: the folder of the ids.
        threads: that read images; 0 chooses.

    Raises:
        DataError: an image cannot be read; names the first, and says how many.
    """
    tuned = model.tuned(len(items))
    parts = embed_batches(tuned, items, threads=threads)
    # One image needs no bar.
    shown = progress(parts, "embedding") if len(items) > 1 else parts
    ids, vectors, lost = join_parts(shown, model.dim)
    if lost:
        first = lost[0]
        raise DataError(
            f"{first['path']}: {first['code']}: {first['detail']}; {len(lost)} of"
            f" {len(items)} images cannot be used: mend or remove them, or embed into a folder,"
            " which names them in its rejects.csv and goes on"
        )
    return Embeddings(np.array(ids), vectors, {**tuned.provenance, "root": root})


def load_model_of(provenance: Mapping[str, Any], what: str) -> ImageModel:
    """The model by name that made some embeddings, run as it was for them.

    Args:
        provenance: of the embeddings.
        what: what an error calls them.

    Raises:
        DataError: they do not tell a model's name; says what to do.
        UsageError, DataError, ArtefactError: as `load_model`.
    """
    name = provenance.get("name")
    if not isinstance(name, str):
        raise DataError(
            f"{what}: made by a recipe or by another program, not by a model by name: embed the"
            " queries as it was made, with `fastseek embed`, and name that folder"
        )
    return load_as_before(name, provenance)


def load_as_before(
    name: str, provenance: Mapping[str, Any], options: ModelOptions = USUAL
) -> ImageModel:
    """A model by name, run with the pooling, size and precision that it had for some embeddings.

    Args:
        name: as for `load_model`.
        provenance: of the embeddings; those of another model, or of nobody, tell nothing.
        options: device and engine; pooling, size and precision only where the embeddings tell none.

    Raises:
        UsageError, DataError, ArtefactError: as `load_model`.
    """
    model = load_kept(name, options)
    if first_difference(model.provenance, provenance) in ("", "model"):
        return model
    known = _read_options(provenance.get("preprocessing"))
    how = dataclasses.replace(known, device=options.device, engine=options.engine)
    return load_kept(name, how)


@functools.lru_cache(maxsize=2)
def load_kept(name: str, options: ModelOptions) -> ImageModel:
    """What `load_model` gives; kept, since one searches again and again in the same gallery."""
    return load_model(name, options)


def _read_options(preprocessing: Any) -> ModelOptions:
    """How a model was run, as far as it decides about the vectors."""
    told = preprocessing if isinstance(preprocessing, Mapping) else {}
    size, pooling, precision = (told.get(key) for key in ("size", "pooling", "precision"))
    sides = list(size) if isinstance(size, (list, tuple)) else []
    square = len(sides) == 2 and sides[0] == sides[1] and isinstance(sides[0], int)
    return ModelOptions(
        pooling=str(pooling or ""),
        size=sides[0] if square else 0,
        precision=str(precision) if precision in PRECISIONS else "",
    )
