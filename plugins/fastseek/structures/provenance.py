"""What made a thing: how a provenance grows, and whether two sets of embeddings may be compared."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from typing import Any, TypeVar

from ..errors import ArtefactError, shorten
from ..io.paths import PathLike
from . import Embeddings, Ranking
from .archive import Provenance

ARRAY = "array "  # and its digest: the root of the rows of an array that lies in no file
KEYS = ("model", "preprocessing", "views", "enhance")
Noun = TypeVar("Noun", Embeddings, Ranking)


def add_call(provenance: Provenance, kind: str, call: str) -> dict[str, Any]:
    """The provenance after one more step.

    Args:
        provenance: of what the step was given; stays as it is.
        kind: "enhance" or "rerank".
        call: the step's call string.
    """
    before = provenance.get(kind, [])
    steps = before if isinstance(before, (list, tuple)) else [before]  # of a foreign file
    return {**provenance, kind: [*steps, call]}


def join_engines(told: Provenance, given: Provenance) -> dict[str, str]:
    """What ran the model, of vectors of which some were there and others came: "eager, onnx" where
    they were not made in one way; nothing where nobody tells it.
    """
    names = (str(side.get("engine") or "") for side in (told, given))
    every = {one for name in names for one in name.split(", ") if one}
    return {"engine": ", ".join(sorted(every))} if every else {}


def attach_provenance(noun: Noun, provenance: Provenance) -> Noun:
    """The same embeddings or ranking with another provenance; the arrays are shared.

    They were checked when the noun was built, and are not checked again.
    """
    other = copy.copy(noun)
    object.__setattr__(other, "provenance", provenance)
    return other


def tell_root(embeddings: Embeddings, path: PathLike) -> Embeddings:
    """Bare vectors with the file they were read from as their root: row 0 of one file is not row 0 of
    another. A folder holds ids that were given; it stays as it is.
    """
    if "root" in embeddings.provenance or os.path.isdir(path):
        return embeddings
    root = os.path.abspath(path)
    return attach_provenance(embeddings, {**embeddings.provenance, "root": root})


def check_same_model(
    queries: Embeddings, gallery: Embeddings, asked: str = "queries", found: str = "gallery"
) -> None:
    """Check that queries and gallery come from one model, seen and treated alike.

    What a provenance does not say is not compared, so bare vectors pass.

    Args:
        queries, gallery: any two sets.
        asked, found: what an error calls them.

    Raises:
        ArtefactError: they differ in dimension, model, preprocessing, views or enhancement; says in
            which and how.
    """
    if queries.dim != gallery.dim:
        models = [_describe(side.provenance.get("model")) for side in (queries, gallery)]
        raise ArtefactError(
            f"{asked} have {queries.dim} dimensions ({models[0]}), the {found} {gallery.dim} "
            f"({models[1]}): embed both with one model"
        )
    key = first_difference(queries.provenance, gallery.provenance)
    if key == "model":
        _refuse_former_hash(queries, asked, gallery.provenance)
        _refuse_former_hash(gallery, found, queries.provenance)
    if key:
        raise ArtefactError(
            f"{asked} and {found} differ in {key}:"
            f" {_contrast(queries.provenance[key], gallery.provenance[key])}; embed both in the same"
            " way"
        )


def _refuse_former_hash(side: Embeddings, name: str, other: Provenance) -> None:
    """Name embeddings whose model version 0.1 hashed without its last convolution.

    Whether it was this model cannot be told from that hash.

    Raises:
        ArtefactError: these embeddings are such.
    """
    if "former_model" in other and side.provenance.get("model") == other["former_model"]:
        raise ArtefactError(
            f"the {name} were embedded by version 0.1, whose hash of a model left out the last"
            " convolution of this kind of network, so that it tells nothing: embed them again"
        )


def first_difference(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """The first of KEYS that both provenances tell, and tell differently; "" when there is none."""
    told = [key for key in KEYS if key in one and key in other]
    return next((key for key in told if _as_lists(one[key]) != _as_lists(other[key])), "")


def _as_lists(value: Any) -> Any:
    """Tuples as lists: a provenance that was on disk has only lists."""
    if isinstance(value, dict):
        return {key: _as_lists(inner) for key, inner in value.items()}
    return [_as_lists(inner) for inner in value] if isinstance(value, (list, tuple)) else value


def _contrast(one: Any, other: Any) -> str:
    """Two values; of mappings only the first key in which they differ."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        for key in dict.fromkeys([*one, *other]):
            if _as_lists(one.get(key)) != _as_lists(other.get(key)):
                return f"{key} {shorten(str(one.get(key)))} and {shorten(str(other.get(key)))}"
    return f"{_describe(one)} and {_describe(other)}"


def _describe(value: Any) -> str:
    return shorten(str(value) if value is not None else "model unknown")
