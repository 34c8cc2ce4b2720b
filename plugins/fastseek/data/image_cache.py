"""Images decoded and brought to one size once, for disks and processors that are slow at it every
epoch.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
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
from ..io.location_states import States
from ..io.locks import hold_folder
from ..io.paths import PathLike
from ..io.processors import count_processors
from ..progress import progress, tell
from ..registry import TRANSFORMS, FileReadingTransform, Transform, build
from .images import NORMAL_FORM, BadImage, decode
from .transforms._image_ops import ImageLike, to_pil
from .transforms._pipeline import Pipeline, count_fixed

FORMAT, COLORS = 1, "RGB"
COLORS_KEY = "colours"  # as files of format 1 spell it
EMPTY_SIZE = (1, 1)  # of a cache no image of which could be read
ROWS = 256  # images a shard
_WAIT = 0.5  # seconds between two looks at a cache another process is making

Size = tuple[int, int]


class ArrayCache:
    """A finished cache: `cache[row]` is the image as the first transforms of a recipe left it.

    On disk: `manifest.json` with format, colour order, size, what was done and to which images,
    and shards `00000.npy`, uint8 [rows, H, W, 3], each with the CRC-32 of every image in
    `00000.json`. Every image read is compared with its CRC.

    Args:
        folder: one cache.
        digest: what it must have been made from; "" takes any.

    Raises:
        ArtefactError: it is not finished, of another format, or made from other images or by other
            transforms.
    """

    def __init__(self, folder: PathLike, digest: str = "") -> None:
        self.folder = pathlib.Path(folder)
        if not (self.folder / "manifest.json").exists():
            raise ArtefactError(f"{folder}: no finished cache of images; build it again")
        manifest = read_json(self.folder / "manifest.json")
        form = manifest.get("format"), manifest.get(COLORS_KEY)
        if form != (FORMAT, COLORS):
            raise ArtefactError(
                f"{folder}: a cache of format {form[0]}, colours {form[1]}; this version reads"
                f" {FORMAT}, {COLORS}: remove the folder"
            )
        if digest and manifest["digest"] != digest:
            raise ArtefactError(
                f"{folder}: made of other images or by other transforms ({manifest['transforms']}):"
                " name another folder, or remove it"
            )
        self.count, self.rows = manifest["count"], manifest["rows"]
        self.size = tuple(manifest["size"])
        numbers = range(-(-self.count // self.rows))
        pages = [read_json(self.folder / f"{number:05d}.json") for number in numbers]
        self._sums = np.array([value for page in pages for value in page["crc32"]], np.uint32)
        self._rejects: dict[int, tuple[str, str]] = {}
        for page in pages:
            self._rejects |= zip(page["bad"], page["why"], strict=True)
        self._shards: dict[int, np.ndarray] = {}

    def __len__(self) -> int:
        return self.count

    def __getstate__(self) -> dict[str, Any]:
        # a worker maps the files itself; a map would be copied whole
        return self.__dict__ | {"_shards": {}}

    def __getitem__(self, row: int) -> Image.Image:
        """The image of a row.

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
        if zlib.crc32(pixels.data) != self._sums[row]:
            raise ArtefactError(
                f"{self.folder / f'{number:05d}.npy'}: the bytes of image {row} are not those that "
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


def split_fixed(calls: Sequence[str]) -> tuple[list[str], list[str]]:
    """The first transforms of a recipe, which draw nothing and can be done once, and the rest.

    Raises:
        UsageError: the first one draws, or there is none.
    """
    kept = count_fixed([build(call, TRANSFORMS) for call in calls])
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
    """The cache of these images under these transforms, made when it is not there; a killed build
    goes on.

    Args:
        home: holds a folder a cache, named by a digest of images (path, size, time of change) and
            transforms.
        paths: the images.
        calls: call strings of transforms that draw nothing.
        max_pixels: larger images are refused.

    Raises:
        DataError: the transforms do not give one size.
    """
    parts = [build(call, TRANSFORMS) for call in calls]
    digest = digest_of(paths, calls, _read_files(parts), max_pixels)
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
                origin = {"digest": digest, "transforms": list(calls)}
                _make(folder, paths, Pipeline(parts).apply, max_pixels, origin)
    return ArrayCache(folder, digest)


def digest_of(
    paths: Sequence[str], calls: Sequence[str], files: Sequence[PathLike], max_pixels: int
) -> str:
    """SHA-256 of all that decides what is in a cache."""
    settings = [
        FORMAT,
        COLORS,
        NORMAL_FORM,
        max_pixels,
        list(calls),
        [sha256(one) for one in files],
    ]
    digest = hashlib.sha256(json.dumps(settings).encode())
    for path, state in zip(paths, States().of_all(paths), strict=True):
        digest.update(f"{path}\0{state}\0".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _read_files(parts: Sequence[Transform]) -> list[PathLike]:
    """The files that transforms read, such as the table of `denoise`."""
    return [file for part in parts if isinstance(part, FileReadingTransform) for file in part.files]


def _make(
    folder: pathlib.Path,
    paths: Sequence[str],
    transform: Callable[[Image.Image], ImageLike],
    max_pixels: int,
    origin: dict[str, Any],
) -> None:
    """Write the shards that are not there, and last the manifest; `origin` goes into it."""
    size: Size | None = None
    starts = range(0, len(paths), ROWS)

    def read(path: str) -> np.ndarray | BadImage:
        try:
            image = decode(path, max_pixels)
        except BadImage as error:
            return error
        image.info["path"] = path
        return np.asarray(to_pil(transform(image)))

    with ThreadPoolExecutor(count_processors()) as pool:
        for number in progress(range(len(starts)), f"decoding {len(paths)} images once"):
            file = folder / f"{number:05d}.json"
            if file.exists():  # written after its shard
                size = size or _read_size(file)
                continue
            shard = paths[starts[number] : starts[number] + ROWS]
            images = list(pool.map(read, shard))
            size = _check_one_size(shard, images, size)
            _write_shard(file, starts[number], images, size)
    shape = {"count": len(paths), "rows": ROWS, "size": size or EMPTY_SIZE}
    form = {"format": FORMAT, COLORS_KEY: COLORS}
    write_json(folder / "manifest.json", {**origin, **form, **shape})


def _check_one_size(
    paths: Sequence[str], images: Sequence[np.ndarray | BadImage], size: Size | None
) -> Size | None:
    """The size of all images, `size` where it is known; None where none could be read.

    Raises:
        DataError: they have several; names one.
    """
    for path, image in zip(paths, images, strict=True):
        if isinstance(image, BadImage):
            continue
        height, width = image.shape[:2]
        size = size or (height, width)
        if (height, width) != size:
            raise DataError(
                f"{path} became {height} x {width}, another {size[0]} x {size[1]}:"
                " SEEK.CACHE needs first transforms that give one size, such as rescale_pad(512)"
                " or resize(224)"
            )
    return size


def _write_shard(
    file: pathlib.Path, start: int, images: Sequence[np.ndarray | BadImage], size: Size | None
) -> None:
    table = np.zeros((len(images), *(size or EMPTY_SIZE), 3), np.uint8)
    bad: dict[int, BadImage] = {}
    for place, image in enumerate(images):
        if isinstance(image, BadImage):
            bad[place] = image
        else:
            table[place] = image
    with atomic(file.with_suffix(".npy")) as out:
        np.save(out, table, allow_pickle=False)
    rejects = {
        "bad": [start + place for place in bad],
        "why": [[error.code, error.detail] for error in bad.values()],
    }
    write_json(file, {"size": size, "crc32": [zlib.crc32(one.data) for one in table], **rejects})


def _read_size(file: pathlib.Path) -> Size | None:
    found = read_json(file)["size"]
    return (int(found[0]), int(found[1])) if found else None
