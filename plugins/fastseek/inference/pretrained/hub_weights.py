"""Weights of a model hub: fetched once, pinned by revision and SHA-256 from then on."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from ...errors import ArtefactError, DataError, UsageError, shorten
from ...io.digests import sha256
from ...io.hub_reach import find_fault
from .cache import cache_folder, read_record, write_record
from .catalog import find_pin
from .onnx_programs import find_missing

RECORDS = "hub.json"
FILES = ("model.safetensors", "pytorch_model.bin")


@dataclasses.dataclass(frozen=True)
class WeightFile:
    """A file of weights, and which one it is.

    Args:
        path: the file.
        sha256: of its bytes.
        repo, revision: of the hub it came from, "" for a file of one's own.
    """

    path: pathlib.Path
    sha256: str
    repo: str = ""
    revision: str = ""


def fetch_weights(repo: str, file: str = "", local_only: bool = False) -> WeightFile:
    """The weights of a repository of the hub, from its cache or the network.

    The revision is that of the catalogue; where it tells none, the newest at the first fetch, which
    is remembered with the file's SHA-256. HF_HUB_OFFLINE is honored.

    Args:
        repo: such as "timm/vit_small_patch16_dinov3.lvd1689m".
        file: its name there; what repositories usually call it when not given.
        local_only: the network is not asked.

    Raises:
        UsageError: huggingface_hub is not installed.
        DataError: the weights cannot be had; says what to do.
        ArtefactError: the file is not the one that was pinned.
    """
    if find_missing(["huggingface_hub"]):
        raise UsageError(
            f"weights of {repo} need the package huggingface_hub: pip install 'fastseek[embed]', or"
            " name a local file, timm:NETWORK@FILE"
        )
    pin = find_known_pin(repo)
    wanted = [file] if file else [str(pin["file"])] if pin.get("file") else list(FILES)
    path = _download(repo, wanted, pin.get("revision"), local_only)
    found = WeightFile(path, sha256(path), repo, revision_of(path))
    if pin.get("sha256") and pin["sha256"] != found.sha256:
        raise ArtefactError(
            f"{path}: SHA-256 {found.sha256}, but {pin['sha256']} is pinned for {repo}: remove the"
            f" file and fetch it again, or forget the pin in {cache_folder() / RECORDS}"
        )
    if not pin:
        record = {"file": path.name, "revision": found.revision, "sha256": found.sha256}
        write_record(RECORDS, repo, record)
    return found


def find_known_pin(repo: str) -> Mapping[str, Any]:
    """File, revision and SHA-256 by the catalogue, or at the first fetch; {} where there was none."""
    pin = find_pin(repo) or read_record(RECORDS).get(repo)
    return pin if isinstance(pin, Mapping) else {}


def known_repos() -> list[str]:
    """The repositories that were fetched here."""
    return sorted(read_record(RECORDS))


def revision_of(path: pathlib.Path) -> str:
    """The commit a file of the hub's cache belongs to: …/snapshots/COMMIT/FILE."""
    return path.parent.name if path.parent.parent.name == "snapshots" else ""


def _download(
    repo: str, files: Sequence[str], revision: str | None, local_only: bool
) -> pathlib.Path:
    """The first of the files that the cache has, or else the hub."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import LocalEntryNotFoundError, RemoteEntryNotFoundError

    for file in files:
        with contextlib.suppress(LocalEntryNotFoundError):
            return pathlib.Path(
                hf_hub_download(repo, file, revision=revision, local_files_only=True)
            )
    fault = "" if local_only else find_fault()
    why = f"they are not in the cache{f', and the hub cannot be reached: {fault}' if fault else ''}"
    for file in () if local_only or fault else files:
        try:
            return pathlib.Path(hf_hub_download(repo, file, revision=revision))
        except RemoteEntryNotFoundError:
            why = f"the repository has none of {', '.join(files)}"
        except Exception as error:  # the hub's client has many ways to fail
            cause = error.__cause__ if isinstance(error, LocalEntryNotFoundError) else error
            why = shorten(" ".join(str(cause or error).split()))
            break
    raise DataError(
        f"the weights of {repo} could not be had ({why}): this needs the network once; or copy"
        f" {files[0]} of that repository here and name it, timm:NETWORK@{files[0]}"
    )
