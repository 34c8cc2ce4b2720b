"""The manifests of a folder of checkpoints: which files belong together, and whether they are as
they were written.

Checkpoint NAME is `NAME.safetensors`, mostly `NAME.state.pt`, and `NAME.json`, the manifest with
their sizes and SHA-256, written last. Where class weights are shared out over processes, what the
optimizer keeps of them is in `NAME.optimizer`, in the format of safetensors.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import DataError
from ..io.digests import sha256
from ..io.json_files import read_json, write_json

FORMAT = 1
WEIGHTS, STATE, MEMORY, MANIFEST = ".safetensors", ".state.pt", ".optimizer", ".json"
Manifest = dict[str, Any]


def write(
    folder: pathlib.Path, name: str, suffixes: Sequence[str], told: Mapping[str, Any]
) -> None:
    """Vouch for the files of a checkpoint.

    Args:
        folder: where they are.
        name: the checkpoint.
        suffixes: of its files.
        told: plain values that readers may want (run, step, epoch, metric).
    """
    paths = [folder / f"{name}{suffix}" for suffix in suffixes]
    files = {path.name: {"bytes": path.stat().st_size, "sha256": sha256(path)} for path in paths}
    serial = 1 + max((manifest["serial"] for _, manifest in newest_first(folder)), default=0)
    write_json(
        folder / f"{name}{MANIFEST}", {**told, "format": FORMAT, "serial": serial, "files": files}
    )


def note(folder: pathlib.Path, name: str, values: Mapping[str, Any]) -> None:
    """Add values to the manifest of a checkpoint that stands; where there is none, nothing is done.

    Args:
        folder: where it is.
        name: the checkpoint.
        values: plain ones; kept as JSON text, which leaves the order of their keys alone.
    """
    with contextlib.suppress(DataError):
        manifest = read_json(folder / f"{name}{MANIFEST}")
        write_json(
            folder / f"{name}{MANIFEST}",
            {**manifest, "noted": json.dumps(dict(values), default=float)},
        )


def read_notes(folder: pathlib.Path, name: str) -> Manifest:
    """What `note` added to a checkpoint."""
    with contextlib.suppress(DataError):
        return json.loads(read_json(folder / f"{name}{MANIFEST}").get("noted", "{}"))
    return {}


def newest_first(folder: pathlib.Path) -> list[tuple[str, Manifest]]:
    """(name, manifest) of all checkpoints of the folder; what cannot be read is passed over."""
    found = []
    for path in sorted(folder.glob(f"model_*{MANIFEST}")):
        with contextlib.suppress(DataError):
            manifest = read_json(path)
            if isinstance(manifest, dict) and isinstance(manifest.get("serial"), int):
                found.append((path.name.removesuffix(MANIFEST), manifest))
    return sorted(found, key=lambda pair: -pair[1]["serial"])


def candidates(folder: pathlib.Path, tagged: str) -> list[str]:
    """Checkpoints to go on from, best first: the tagged one, then others of its run from the newest
    back.
    """
    manifests = dict(newest_first(folder))
    run = manifests.get(tagged, {}).get("run")
    return [tagged] + [
        name
        for name, manifest in manifests.items()
        if name != tagged
        and f"{name}{STATE}" in manifest.get("files", {})
        and run in (None, manifest.get("run"))
    ]


def is_listed(folder: pathlib.Path, name: str, suffix: str) -> bool:
    """Whether the manifest of a checkpoint vouches for its file of that suffix."""
    with contextlib.suppress(DataError):
        return f"{name}{suffix}" in read_json(folder / f"{name}{MANIFEST}").get("files", {})
    return False


def fault(folder: pathlib.Path, name: str) -> str | None:
    """Why a run cannot go on from a checkpoint; None when it can."""
    try:
        manifest = read_json(folder / f"{name}{MANIFEST}")
    except DataError as error:
        return f"its manifest cannot be used: {error}"
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        return f"its manifest is not of format {FORMAT}, the one this version reads"
    files = manifest.get("files", {})
    if not {f"{name}{WEIGHTS}", f"{name}{STATE}"} <= set(files):
        return "it holds weights only"
    return next(
        filter(None, (_file_fault(folder / file, entry) for file, entry in sorted(files.items()))),
        None,
    )


def _file_fault(path: pathlib.Path, entry: Mapping[str, Any]) -> str | None:
    if not path.is_file():
        return f"{path.name} is missing"
    if path.stat().st_size != entry["bytes"]:
        return f"{path.name} has {path.stat().st_size} bytes, {entry['bytes']} were written"
    return (
        None if sha256(path) == entry["sha256"] else f"{path.name} was changed after it was written"
    )


def copy(folder: pathlib.Path, name: str, to: str) -> None:
    """Give a checkpoint a second name, with hard links where the disk has them."""
    for suffix in (WEIGHTS, STATE, MEMORY):
        source, target = folder / f"{name}{suffix}", folder / f"{to}{suffix}"
        target.unlink(missing_ok=True)
        if not source.exists():
            continue
        try:
            os.link(source, target)
        except OSError:
            shutil.copyfile(source, target)
    manifest = read_json(folder / f"{name}{MANIFEST}")
    files = {file.replace(name, to, 1): entry for file, entry in manifest["files"].items()}
    write_json(folder / f"{to}{MANIFEST}", {**manifest, "files": files})


def delete(folder: pathlib.Path, name: str) -> None:
    """Remove a checkpoint, its manifest first."""
    for suffix in (MANIFEST, MEMORY, STATE, WEIGHTS):
        (folder / f"{name}{suffix}").unlink(missing_ok=True)


def sweep(folder: pathlib.Path) -> None:
    """Remove what killed writers left: half files, and the state or step checkpoints without a
    manifest.
    """
    for path in folder.glob(".model_*.tmp-*"):
        path.unlink(missing_ok=True)
    left = (f"model_*{STATE}", f"model_*{MEMORY}", f"model_step_*{WEIGHTS}")
    for path in [found for pattern in left for found in folder.glob(pattern)]:
        name = path.name.removesuffix(STATE).removesuffix(WEIGHTS).removesuffix(MEMORY)
        if not (folder / f"{name}{MANIFEST}").exists():
            path.unlink(missing_ok=True)
