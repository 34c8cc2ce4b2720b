"""Photos decoded and brought to one size once, for disks and processors that are slow at it every
epoch.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pathlib
import time
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from PIL import Image

from ..errors import ArtefactError, DataError, RunError, UsageError
from ..io.atomic import atomic
from ..io.digests import sha256
from ..io.json_files import read_json, write_json
from ..io.locks import hold_folder
from ..io.paths import PathLike
from ..progress import progress, tell
from ..registry import TRANSFORMS, build
from .images import NORMAL_FORM, BadImage, decode
from .transforms._image_ops import to_pil
from .transforms._pipeline import Pipeline

FORMAT, COLOURS = 1, "RGB"
ROWS = 256  # photos a shard
_WAIT = 0.5  # seconds between two looks at a cache another process is making

Transform = Callable[[Image.Image], Any]


class ArrayCache:
    """A finished cache: `cache[row]` is the photo as the first transforms of a recipe left it.

    On disk: `manifest.json` with format, colour order, size, what was done and to which photos, and
        shards
    `00000.npy`, uint8 [rows, H, W, 3], each with the CRC-32 of every photo in `00000.json`. Every
    photo read is compared with its CRC.

    Args:
        folder: one cache.
        digest: what it must have been made from; "" takes any.

    Raises:
        ArtefactError: it is not finished, of another format, or made from other photos or by other
            transforms.
    """

    def __init__(self, folder: PathLike, digest: str = "") -> None:
        self.folder = pathlib.Path(folder)
        if not (self.folder / "manifest.json").exists():
            raise ArtefactError(f"{folder}: no finished cache of photos; build it again")
        manifest = read_json(self.folder / "manifest.json")
        if (manifest.get("format"), manifest.get("colours")) != (FORMAT, COLOURS):
            raise ArtefactError(
                f"{folder}: a cache of format {manifest.get('format')}, colours"
                f" {manifest.get('colours')}; this version reads {FORMAT}, {COLOURS}: remove the"
                " folder"
            )
        if digest and manifest["digest"] != digest:
            raise ArtefactError(
                f"{folder}: made of other photos or by other transforms ({manifest['transforms']}):"
                " name another folder, or remove it"
            )
        self.count, self.rows, self.size = (
            manifest["count"],
            manifest["rows"],
            tuple(manifest["size"]),
        )
        told = [
            read_json(self.folder / f"{number:05d}.json")
            for number in range(-(-self.count // self.rows))
        ]
        self._sums = np.array([value for shard in told for value in shard["crc32"]], np.uint32)
        self._rejects = {
            row: reject
            for shard in told
            for row, reject in zip(shard["bad"], shard["why"], strict=True)
        }
        self._shards: dict[int, np.ndarray] = {}

    def __len__(self) -> int:
        return self.count

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {
            "_shards": {}
        }  # a worker maps the files itself; a map would be copied whole

    def __getitem__(self, row: int) -> Image.Image:
        """The photo of a row.

        Raises:
            BadImage: it could not be read when the cache was made.
            ArtefactError: its bytes are not those that were written.
        """
        if row in self._rejects:
            raise BadImage(*self._rejects[row])
        number, place = divmod(row, self.rows)
        if number not in self._shards:
            self._shards[number] = self._map(self.folder / f"{number:05d}.npy")
        pixels = np.array(self._shards[number][place])
        if zlib.crc32(pixels) != self._sums[row]:
            raise ArtefactError(
                f"{self.folder / f'{number:05d}.npy'}: the bytes of photo {row} are not those that "
                "were written: remove the folder, it is made again"
            )
        return Image.fromarray(pixels)

    def _map(self, file: pathlib.Path) -> np.ndarray:
        try:
            shard = np.load(file, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise ArtefactError(
                f"{file}: not a whole shard ({error}): remove the folder, it is made again"
            ) from error
        if shard.shape[1:] != (*self.size, 3) or shard.dtype != np.uint8:
            raise ArtefactError(
                f"{file}: {shard.dtype} {shard.shape}, the manifest says {self.size}: remove the "
                "folder, it is made again"
            )
        return shard


def split(calls: Sequence[str]) -> tuple[list[str], list[str]]:
    """The first transforms of a recipe, which draw nothing and can be done once, and the rest.

    Raises:
        UsageError: the first one draws, or there is none.
    """
    kept = 0
    for call in calls:
        if not getattr(build(call, TRANSFORMS), "fixed", False):
            break
        kept += 1
    if not kept:
        raise UsageError(
            "SEEK.CACHE keeps what the first transforms give, and"
            f" {calls[0] if calls else 'no list'} cannot be done once: let the list begin with"
            " resize or rescale_pad, or leave SEEK.CACHE empty"
        )
    return list(calls[:kept]), list(calls[kept:])


def cache_images(
    home: PathLike, paths: Sequence[str], calls: Sequence[str], max_pixels: int
) -> ArrayCache:
    """The cache of these photos under these transforms, made when it is not there; a killed build
    goes on.

    Args:
        home: holds a folder a cache, named by a digest of photos (path, size, time of change) and
            transforms.
        paths: the photos.
        calls: call strings of transforms that draw nothing.
        max_pixels: larger photos are refused.

    Raises:
        DataError: the transforms do not give one size.
    """
    parts = [build(call, TRANSFORMS) for call in calls]
    digest = digest_of(
        paths, calls, [file for part in parts for file in getattr(part, "files", ())], max_pixels
    )
    folder = pathlib.Path(home) / digest[:16]
    waited = False
    while not (folder / "manifest.json").exists():
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(hold_folder(folder))
            except RunError:
                if not waited:
                    tell(f"{folder}: waiting for the process that makes this cache")
                waited = True
                time.sleep(_WAIT)
                continue
            if not (folder / "manifest.json").exists():
                _make(
                    folder,
                    paths,
                    Pipeline(parts).pictured,
                    max_pixels,
                    {"digest": digest, "transforms": list(calls)},
                )
    return ArrayCache(folder, digest)


def digest_of(
    paths: Sequence[str], calls: Sequence[str], files: Sequence[PathLike], max_pixels: int
) -> str:
    """SHA-256 of all that decides what is in a cache."""
    state = hashlib.sha256(
        json.dumps(
            [
                FORMAT,
                COLOURS,
                NORMAL_FORM,
                max_pixels,
                list(calls),
                [sha256(file) for file in files],
            ]
        ).encode()
    )
    for path in paths:
        try:
            found = os.stat(path)
            told = f"{found.st_size} {found.st_mtime_ns}"
        except OSError:
            told = "missing"
        state.update(f"{path}\0{told}\0".encode("utf-8", "surrogateescape"))
    return state.hexdigest()


def _make(
    folder: pathlib.Path,
    paths: Sequence[str],
    transform: Transform,
    max_pixels: int,
    told: dict[str, Any],
) -> None:
    size: tuple[int, ...] | None = None
    starts = range(0, len(paths), ROWS)

    def read(path: str) -> np.ndarray | BadImage:
        try:
            image = decode(path, max_pixels)
        except BadImage as error:
            return error
        image.info["path"] = path
        return np.asarray(to_pil(transform(image)))

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for number in progress(range(len(starts)), f"decoding {len(paths)} photos once"):
            file = folder / f"{number:05d}.json"
            if file.exists():  # written after its shard
                size = size or _size(read_json(file)["size"])
                continue
            shard = paths[starts[number] : starts[number] + ROWS]
            size = _write(file, starts[number], shard, list(pool.map(read, shard)), size)
    write_json(
        folder / "manifest.json",
        told
        | {
            "format": FORMAT,
            "colours": COLOURS,
            "count": len(paths),
            "rows": ROWS,
            "size": size or (1, 1),
        },
    )


def _write(
    file: pathlib.Path,
    start: int,
    paths: Sequence[str],
    found: Sequence[np.ndarray | BadImage],
    size: tuple[int, ...] | None,
) -> tuple[int, ...] | None:
    for path, one in zip(paths, found, strict=True):
        if isinstance(one, BadImage):
            continue
        size = size or one.shape[:2]
        if one.shape[:2] != size:
            raise DataError(
                f"{path} became {one.shape[0]} x {one.shape[1]}, another {size[0]} x {size[1]}:"
                " SEEK.CACHE needs first transforms that give one size, such as rescale_pad(512)"
                " or resize(224)"
            )
    table = np.zeros((len(found), *(size or (1, 1)), 3), np.uint8)
    bad = [place for place, one in enumerate(found) if isinstance(one, BadImage)]
    for place, one in enumerate(found):
        if place not in bad:
            table[place] = one
    with atomic(file.with_suffix(".npy")) as out:
        np.save(out, table, allow_pickle=False)
    write_json(
        file,
        {
            "size": size,
            "crc32": [zlib.crc32(one) for one in table],
            "bad": [start + place for place in bad],
            "why": [[found[place].code, found[place].detail] for place in bad],
        },
    )
    return size


def _size(told: Sequence[int] | None) -> tuple[int, ...] | None:
    return tuple(told) if told else None
