"""What tells whether the bytes at a location have changed: sizes, times and tags, and no contents."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from .crop_locations import parse_crop, whole_image
from .locations import WEB, file_around, file_system, is_file, parent, retry

AT_ONCE = 16  # requests to web servers at the same time
CHUNK = 4096  # locations that are looked at together


def measure(location: str) -> tuple[int, int]:
    """Bytes and time of change (ns) of a file; of an image in another one its own bytes, -1 where
    these are not told, and that one's time; -1, -1 where nothing can be asked.
    """
    around = file_around(location)
    file = whole_image(location) if around is None else around[0]
    try:
        state = os.stat(file)
    except (OSError, ValueError):
        return -1, -1
    return state.st_size if around is None else around[2], state.st_mtime_ns


class States:
    """What tells whether the bytes at locations have changed since; a tar or Parquet file is asked
    once for all its images, and a folder at an address once for all its files.
    """

    def __init__(self) -> None:
        self._known: dict[str, str] = {}
        self._folders: dict[str, dict[str, str] | None] = {}

    def of(self, location: str) -> str:
        """Size and time of change; of an address size and ETag or time, as far as it tells them;
        "missing" where nothing is.

        Raises:
            RunError: an address cannot be reached.
        """
        if is_file(location):
            return _state_of_file(location)
        crop = parse_crop(location)
        if crop is not None:
            return f"{crop.box} {self.of(crop.file)}"
        around = file_around(location)
        if around is None:
            return self._of_address(location)
        file, place, _ = around
        if file not in self._known:
            self._known[file] = state_of(file)
        return f"{place} {self._known[file]}"

    def of_all(self, locations: Iterable[str]) -> Iterator[str]:
        """Yield what `of` tells of each; web servers, which list no folders, are asked for several
        files at once.
        """
        rest = iter(locations)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            while some := list(itertools.islice(rest, CHUNK)):
                asked = [one for one in some if one.startswith(WEB)]
                known = dict(zip(asked, pool.map(state_of, asked), strict=True))
                yield from (known[one] if one in known else self.of(one) for one in some)

    def _of_address(self, url: str) -> str:
        folder = parent(url)
        if folder not in self._folders:
            self._folders[folder] = _list_states(folder)
        states = self._folders[folder]
        if states is None:
            return state_of(url)
        return states.get(url.rpartition("/")[2], "missing")


def _list_states(folder: str) -> dict[str, str] | None:
    """Name -> what an address tells of every file of a folder; None where it cannot be listed."""

    def ask() -> list[dict[str, Any]]:
        system, path = file_system(folder)
        system.invalidate_cache()
        found: list[dict[str, Any]] = system.ls(path, detail=True)
        return found

    if folder.startswith(WEB):
        return None
    try:
        listed = retry(folder, ask)
    except (FileNotFoundError, PermissionError):
        return None
    return {one["name"].rpartition("/")[2]: _describe_state(one) for one in listed}


def state_of(location: str) -> str:
    """Size and time of change of a file, or what an address tells of itself; "missing" where nothing
    is.

    Raises:
        RunError: an address cannot be reached.
    """
    if is_file(location):
        return _state_of_file(location)

    def ask() -> dict[str, Any]:
        system, path = file_system(location)
        told: dict[str, Any] = system.info(path)
        return told

    try:
        told = retry(location, ask)
    except FileNotFoundError:
        return "missing"
    except PermissionError:  # it may be read, and not be asked for
        return "address"
    return _describe_state(told)


def _describe_state(told: Mapping[str, Any]) -> str:
    keys = ("size", "ETag", "etag", "mtime", "LastModified", "created")
    return " ".join(str(told[key]) for key in keys if told.get(key) is not None)


def _state_of_file(path: str) -> str:
    try:
        # Times instead of contents: nobody reads a million images twice to learn that none changed.
        state = os.stat(path)
    except (OSError, ValueError):
        return "missing"
    return f"{state.st_size} {state.st_mtime_ns}"
