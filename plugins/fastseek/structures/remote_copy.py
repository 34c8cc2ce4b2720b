"""Copies of embeddings folders at addresses, kept on this machine."""

from __future__ import annotations

import hashlib
import os
import pathlib

from ..errors import DataError
from ..io.atomic import atomic
from ..io.locks import take_turn
from ..io.paths import refuse_full_disk
from ..io.remote_folder import RemoteFolder, remote_cache
from .embeddings_manifest import files_of, read_manifest

MANIFEST = "manifest.json"


def fetch_embeddings(url: str) -> pathlib.Path:
    """A copy of an embeddings folder on this machine; what was read before is not read again.

    Raises:
        DataError: there is none. ArtefactError: a file of it is missing or was changed.
        RunError: it cannot be reached.
    """
    remote = RemoteFolder(url)
    try:
        page = remote.read(MANIFEST)
    except DataError as error:
        raise DataError(f"{url}: no embeddings are there, or they are not whole yet") from error
    folder = remote_cache(remote.url) / hashlib.sha256(page).hexdigest()[:24]
    with refuse_full_disk(folder, "what is at the address is whole"), take_turn(folder):
        if not (folder / MANIFEST).exists():
            wanted = folder / "wanted" / MANIFEST
            with atomic(wanted) as file:
                file.write(page)
            remote.fetch_all(files_of(read_manifest(wanted.parent)), folder)
            os.replace(wanted, folder / MANIFEST)
    return folder
