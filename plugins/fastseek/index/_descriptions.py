"""What an index in a folder tells of its engine and of a search."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np

from ..search._faiss_library import import_faiss
from ..structures import Embeddings
from .engines import FLAT
from .filters import Filter
from .manifest import Manifest, files_of
from .view import View


def describe_index(folder: pathlib.Path, manifest: Manifest) -> dict[str, Any]:
    """Counts, model, engine, columns, bytes."""
    size = sum(file.size for file in files_of(manifest))
    structure = manifest.structure
    return {
        "folder": str(folder),
        "images": manifest.live,
        "deleted": sum(one.dead for one in manifest.segments),
        "dim": manifest.dim,
        "dtype": manifest.dtype,
        "metric": manifest.metric,
        "model": manifest.provenance.get("model"),
        "columns": dict(manifest.columns),
        "engine": manifest.engine,
        "in use": describe_engine(manifest),
        "probes": structure.settings[0]["probes"] if structure and structure.settings else None,
        "recall": structure.recall if structure else None,
        "segments": len(manifest.segments),
        "bytes": size,
        "bytes an image": round(size / manifest.live, 1) if manifest.live else None,
        "changes": manifest.generation,
    }


def describe_engine(manifest: Manifest) -> str:
    """The engine that is in use."""
    if manifest.engine == FLAT:
        return FLAT
    if manifest.structure is None:
        return f"{FLAT} (below {manifest.flat_below} images no engine is faster)"
    return manifest.engine


def describe_search(
    view: View, queries: Embeddings, k: int, wanted: Filter | None, exact: bool
) -> dict[str, Any]:
    """The provenance of a ranking."""
    manifest, structure = view.manifest, view.manifest.structure
    numpy_version = f"numpy {np.__version__}"
    told: dict[str, Any] = {
        "search": f"index(k={k}, metric={manifest.metric!r}, engine={manifest.engine!r})",
        "exact": exact,
        "engine": numpy_version if exact else f"faiss {import_faiss().__version__}",
        "images": len(view),
        "queries": dict(queries.provenance),
        "gallery": dict(manifest.provenance),
    }
    if structure and not exact:
        told["recall"] = dict(structure.recall)
    return told | {"filter": wanted.text} if wanted else told
