"""Small pictures for the page: each photo once, without anything its file tells besides the
pixels.
"""

from __future__ import annotations

import base64
import io
import os
import pathlib
import stat
import statistics
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from PIL import Image, ImageOps

from ..io.paths import PathLike
from ..progress import progress

MAX_PIXELS = 64_000_000  # a larger photo is not decoded
Images = Mapping[str, PathLike] | PathLike | Sequence[PathLike] | None


def find(name: str, images: Images, root: str | None = None) -> pathlib.Path | None:
    """The file of the image called `name`, None when there is none.

    Args:
        name: an id: a path relative to a root.
        images: id -> file, or one root, or several that are tried in order.
        root: one more root, tried last.

    A name that leads out of its root ("../x") is not followed: a ranking may come from a stranger,
    and the page is made to be shown around.
    """
    if isinstance(images, Mapping):
        found = images.get(name)
        return pathlib.Path(found) if found is not None and _is_file(found) else None
    roots = [images] if isinstance(images, str | os.PathLike) else list(images or [])
    for base in [*roots, *([root] if root else [])]:
        base = os.path.abspath(base)
        path = os.path.normpath(os.path.join(base, name))
        if os.path.commonpath([base, path]) == base and _is_file(path):
            return pathlib.Path(path)
    return None


def _is_file(path: PathLike) -> bool:
    try:
        return stat.S_ISREG(os.stat(path).st_mode)  # never a pipe, which would wait for ever
    except (OSError, ValueError):
        return False


def thumbnail(path: PathLike, side: int = 160) -> tuple[bytes, float] | None:
    """A JPEG of at most `side` x `side` pixels and its width / height; None when the photo cannot
    be shown.

    The photo is turned upright as its EXIF says; then EXIF, GPS, comments and profiles are dropped.
    """
    try:
        with Image.open(path) as photo:
            if photo.width * photo.height > MAX_PIXELS:
                return None
            photo.draft("RGB", (2 * side, 2 * side))
            small = _on_white(ImageOps.exif_transpose(photo))
    except (
        Exception
    ):  # Pillow's decoders raise nearly anything on damaged files; the page shows a placeholder
        return None
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    small.info.clear()
    out = io.BytesIO()
    small.save(out, "JPEG", quality=74, optimize=True)
    return out.getvalue(), small.width / small.height


def _on_white(photo: Image.Image) -> Image.Image:
    if photo.mode.startswith("I"):
        photo = photo.convert("I").point(lambda value: value / 256).convert("L")
    if "A" in photo.getbands() or "transparency" in photo.info:
        photo = photo.convert("RGBA")
        photo = Image.alpha_composite(Image.new("RGBA", photo.size, "white"), photo)
    return photo.convert("RGB")


class Album:
    """The photos of one page: every file gets one CSS class, whose background is its thumbnail."""

    def __init__(self, paths: Iterable[pathlib.Path], side: int = 160) -> None:
        wanted = list(dict.fromkeys(paths))
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            made = pool.map(lambda path: thumbnail(path, side), wanted)
            small = {
                path: one
                for path, one in zip(wanted, progress(made, "thumbnails", len(wanted)), strict=True)
                if one is not None
            }
        self._names = {path: f"p{number}" for number, path in enumerate(small)}
        self._small = small

    def name(self, path: pathlib.Path | None) -> str:
        """The CSS class of a photo, "" when it cannot be shown."""
        return self._names.get(path, "") if path is not None else ""

    def css(self) -> str:
        """One rule a photo, its picture as a data URI."""
        return "".join(
            f".{name}{{background-image:url(data:image/jpeg;base64,{_base64(self._small[path][0])})}}\n"
            for path, name in self._names.items()
        )

    def shape(self) -> str:
        """ "tall", "square" or "wide": what most photos are."""
        ratio = statistics.median(one[1] for one in self._small.values()) if self._small else 1.0
        return "tall" if ratio < 0.7 else "wide" if ratio > 1.2 else "square"


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
