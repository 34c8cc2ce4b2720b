"""RemoteFolder: files below an address, each written whole and read into a file of this machine."""

from __future__ import annotations

import hashlib
import os
import pathlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ..errors import ArtefactError, DataError, RunError, UsageError, hide_secrets
from .atomic import atomic
from .locations import WEB, check_url, file_system, is_url, join_location, retry
from .paths import PathLike

AT_ONCE = 8  # files that are read at the same time
CHUNK = 8 << 20


def is_address(folder: PathLike) -> bool:
    """Whether a folder lies at an address, and not below the root of this machine."""
    text = os.fspath(folder)
    return is_url(text) and not text.startswith("file://")


class RemoteFolder:
    """The files of one folder at an address, without those of folders in it.

    Nothing there can be locked: a file is there whole or not at all, and who writes last is read.

    Args:
        url: s3://bucket/folder, or what else fsspec writes to.

    Raises:
        UsageError: as `check_url`, or a web server, which takes nothing.
    """

    def __init__(self, url: str) -> None:
        if url.startswith(WEB):
            raise UsageError(
                f"{hide_secrets(url)}: a web server has no folders that can be listed or written: download it"
            )
        self.url = check_url(url).rstrip("/")

    def at(self, name: str) -> str:
        """The address of a file."""
        return join_location(self.url, name)

    def sizes(self) -> dict[str, int]:
        """Name -> bytes of every file that is there now.

        Raises:
            UsageError: it may not be listed. RunError: it cannot be reached.
        """

        def ask() -> list[dict[str, Any]]:
            system, path = file_system(self.url)
            system.invalidate_cache()
            found: list[dict[str, Any]] = system.ls(path, detail=True)
            return found

        try:
            found = retry(self.url, ask)
        except FileNotFoundError:
            return {}
        except PermissionError as error:
            raise UsageError(
                f"{hide_secrets(self.url)}: may not be listed ({error}): name a place that may be"
            ) from error
        return {
            one["name"].rsplit("/", 1)[-1]: int(one["size"] or 0)
            for one in found
            if one["type"] == "file"
        }

    def read(self, name: str) -> bytes:
        """All bytes of a file.

        Raises:
            DataError: it is not there, or may not be read. RunError: it cannot be reached.
        """

        def ask() -> bytes:
            system, path = file_system(self.at(name))
            return bytes(system.cat_file(path))

        try:
            return bytes(retry(self.at(name), ask))
        except (FileNotFoundError, PermissionError) as error:
            raise DataError(f"{self.at(name)}: cannot be read ({error.strerror})") from error

    def write(self, file: pathlib.Path, name: str = "") -> None:
        """Put a file there, under its own name or another.

        Raises:
            UsageError: it may not be written. RunError: it cannot be reached, or was cut.
        """
        address = self.at(name or file.name)

        def ask() -> int:
            system, path = file_system(address)
            system.put_file(str(file), path)
            system.invalidate_cache()
            return int(system.info(path)["size"])

        try:
            size = retry(address, ask)
        except (FileNotFoundError, PermissionError) as error:
            raise UsageError(
                f"{address}: cannot be written ({error}): name a place that may be"
            ) from error
        if size != file.stat().st_size:
            raise RunError(f"{address}: {size} bytes of {file.stat().st_size} arrived: go on later")

    def fetch(self, name: str, into: pathlib.Path, digest: str) -> None:
        """Read a file into one of this machine, unless one of its hash is there.

        Raises:
            ArtefactError: it is not there, or its bytes are not of that hash.
            RunError: it cannot be reached.
        """
        address = self.at(name)

        def ask() -> str:
            system, path = file_system(address)
            made = hashlib.sha256()
            with system.open(path, "rb") as source, atomic(into) as out:
                while block := source.read(CHUNK):
                    made.update(block)
                    out.write(block)
                if made.hexdigest() != digest:
                    raise ArtefactError(f"{address}: the bytes are not those that were written")
            return digest

        try:
            retry(address, ask)
        except (FileNotFoundError, PermissionError) as error:
            raise ArtefactError(f"{address}: is in the manifest and cannot be read") from error

    def fetch_all(self, digests: dict[str, str], folder: pathlib.Path) -> None:
        """Read files, name -> SHA-256, into a folder, several at once; what is there stays."""
        folder.mkdir(parents=True, exist_ok=True)
        wanted = [name for name in digests if not (folder / name).exists()]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            done = [pool.submit(self.fetch, name, folder / name, digests[name]) for name in wanted]
            for one in done:
                one.result()

    def read_all(self, names: Iterable[str]) -> list[bytes]:
        """All bytes of some files, in their order."""
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return list(pool.map(self.read, names))


def remote_cache(url: str) -> pathlib.Path:
    """Where this machine keeps what it reads from and writes to an address."""
    name = hashlib.sha256(url.encode()).hexdigest()[:24]
    return pathlib.Path.home() / ".cache/fastseek/remote" / name
