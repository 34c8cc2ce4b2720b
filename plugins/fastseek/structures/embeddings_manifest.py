"""The manifest of an embeddings folder: which files it has, their hashes and what made them."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import ArtefactError, DataError
from ..io.json_files import read_json, write_json
from .archive import Provenance

FORMAT = 2
# What the manifest tells of a shard, by format; the ids of format 1 stand in a file a shard.
ENTRIES: dict[int, dict[str, type]] = {
    1: {"rows": int, "vectors": str, "vectors_sha256": str, "ids": str, "ids_sha256": str},
    2: {
        "rows": int,
        "vectors": str,
        "vectors_sha256": str,
        "bytes": int,
        "dim": int,
        "dtype": str,
    },
}
IDS_ENTRY = {"rows": int, "file": str, "sha256": str}
EXPECTED = (
    "expected a folder of embeddings, a .npy or a .safetensors file; images are embedded first"
    " (`fastseek embed`), and the vectors in an .npz or .pt file are saved alone as .npy"
)


def save_manifest(
    folder: pathlib.Path,
    shards: Sequence[Mapping[str, Any]],
    ids: Mapping[str, Any],
    provenance: Provenance,
) -> None:
    """Write the manifest of an embeddings folder; before it exists the folder is not one.

    Args:
        folder: where everything else stands already.
        shards: what `save_shard` gave, in their order.
        ids: what `save_ids` gave; no id may stand twice.
        provenance: of the vectors.
    """
    page = {"format": FORMAT, "ids": ids, "shards": shards, "passport": dict(provenance)}
    write_json(folder / "manifest.json", page)


def files_of(manifest: Mapping[str, Any]) -> dict[str, str]:
    """The files of an embeddings folder by its manifest, each with its SHA-256."""
    files = {shard["vectors"]: shard["vectors_sha256"] for shard in manifest["shards"]}
    if "ids" in manifest:
        return {**files, manifest["ids"]["file"]: manifest["ids"]["sha256"]}
    return {**files, **{shard["ids"]: shard["ids_sha256"] for shard in manifest["shards"]}}


def read_manifest(folder: pathlib.Path) -> dict[str, Any]:
    """The manifest of an embeddings folder.

    Raises:
        DataError: there is none, or it is no JSON. ArtefactError: it is of another version, or not
            whole.
    """
    if folder.is_file():
        raise DataError(f"{folder}: {EXPECTED}")
    try:
        manifest: Any = read_json(folder / "manifest.json")
    except DataError as error:
        if not isinstance(error.__cause__, OSError):
            raise
        raise DataError(f"{error}: {EXPECTED}") from error
    written = manifest.get("format") if isinstance(manifest, dict) else None
    if not isinstance(manifest, dict) or not isinstance(written, int) or written not in ENTRIES:
        raise ArtefactError(
            f"{folder}: embeddings of format {written}, this version reads"
            f" {' and '.join(map(str, ENTRIES))}"
        )
    shards, provenance = manifest.get("shards"), manifest.get("passport")
    if (
        not isinstance(shards, list)
        or not all(_is_entry(shard, ENTRIES[written]) for shard in shards)
        or not isinstance(provenance, dict)
        or (written == FORMAT and not _is_entry(manifest.get("ids"), IDS_ENTRY))
    ):
        raise ArtefactError(f"{folder / 'manifest.json'}: not a whole manifest")
    return manifest


def _is_entry(entry: Any, wanted: Mapping[str, type]) -> bool:
    """Whether an entry tells all, and names files of the folder: a manifest may be a stranger's."""
    if not isinstance(entry, dict):
        return False
    return all(isinstance(entry.get(key), kind) for key, kind in wanted.items()) and all(
        pathlib.PurePath(entry[name]).name == entry[name]
        for name in ("ids", "vectors", "file")
        if name in wanted
    )
