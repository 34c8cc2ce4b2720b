"""Small images for the page: each once, without anything its file tells besides the pixels."""

from __future__ import annotations

import base64
import dataclasses
import io
import os
import pathlib
import stat
import statistics
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from PIL import Image, ImageOps

from ..io.crop_locations import parse_crop, whole_image
from ..io.image_formats import accepted_formats
from ..io.locations import is_file, read_bytes
from ..io.paths import PathLike
from ..io.processors import count_processors
from ..progress import progress

MAX_PIXELS = 64_000_000  # a larger image is not decoded
MAX_BYTES = 64 << 20  # of one in a tar or Parquet file, or at an address, no more are read
# Others are not opened: an id may come from a stranger, and Pillow has fifty decoders, some of
# which start programs (EPS) or are seldom looked after.
BESIDE = ("TIFF",)  # of those that are opened on request
SIDE, LARGE_SIDE = 160, 320  # of a thumbnail on a page of many images, and of few
FEW = 300  # images that may be large: the page stays below 10 MB
Files = Mapping[str, PathLike]
Images = Files | PathLike | Sequence[PathLike | Files] | None
Place = pathlib.Path | str  # of an image: a file, or the location of one that is none
# By place and longer side: the JPEG with its width / height, None where it cannot be shown.
Thumbnails = dict[tuple[Place, int], tuple[bytes, float] | None]


@dataclasses.dataclass(frozen=True)
class ImageSources:
    """Where the images of the two sides are, each a mapping id -> file or location, a folder, or
    several of these.

    One mapping cannot serve both: the same id may name a query and another gallery image.
    """

    queries: Images = None
    gallery: Images = None


def find(name: str, images: Images, root: str | None = None) -> Place | None:
    """The file of the image called `name`, or where it lies in a tar or Parquet file or at an
    address; None when there is none.

    Args:
        name: an id: a path relative to a root.
        images: id -> file or location, or one folder, or several of these; folders come first.
        root: the folder that the id is relative to, as a ranking tells it. A ranking may come from
            a stranger, so the root only chooses among `images`: where it is one of these folders
            or lies in one, no other is looked into; else those are tried first whose names end as
            it does, as after a move to another disk.

    A name that leads out of its folder ("../x") is not followed: the page is made to be shown
    around.
    """
    if isinstance(images, Mapping):
        return _find_known(images.get(name))
    given = [images] if isinstance(images, str | os.PathLike) else list(images or [])
    folders = [os.path.abspath(base) for base in given if not isinstance(base, Mapping)]
    for base in _order_bases(folders, root):
        path = os.path.normpath(os.path.join(base, name))
        if _is_inside(path, base) and _is_file(path):
            return pathlib.Path(path)
    known = (_find_known(files.get(name)) for files in given if isinstance(files, Mapping))
    return next((place for place in known if place is not None), None)


def _find_known(found: PathLike | None) -> Place | None:
    if found is None:
        return None
    location = os.fspath(found)
    if not is_file(location):
        return location
    return pathlib.Path(location) if _is_file(location) else None


def _order_bases(bases: Sequence[str], root: str | None) -> list[str]:
    """The folders to look into, the likeliest first."""
    if not root:
        return list(bases)
    told = os.path.abspath(root)
    if any(_is_inside(told, base) for base in bases):
        return [told]
    return sorted(bases, key=lambda base: -_count_common_end(base, told))


def _count_common_end(one: str, other: str) -> int:
    """How many of the last folders of two paths are called alike."""
    pairs = zip(pathlib.Path(one).parts[::-1], pathlib.Path(other).parts[::-1], strict=False)
    count = 0
    for mine, theirs in pairs:
        if mine != theirs:
            break
        count += 1
    return count


def _is_inside(path: str, base: str) -> bool:
    return os.path.commonpath([base, path]) == base


def _is_file(path: PathLike) -> bool:
    try:
        return stat.S_ISREG(os.stat(path).st_mode)  # never a pipe, which would wait for ever
    except (OSError, ValueError):
        return False


def thumbnail(path: PathLike, side: int = SIDE) -> tuple[bytes, float] | None:
    """A JPEG of at most `side` x `side` pixels and its width / height; None when the image cannot
    be shown.

    The image is turned upright as its EXIF says; then EXIF, GPS, comments and profiles are dropped.
    """
    try:
        location = os.fspath(path)
        crop = parse_crop(location)
        with Image.open(_source(location), formats=(*accepted_formats(), *BESIDE)) as image:
            if image.width * image.height > MAX_PIXELS:
                return None
            if crop is None:
                image.draft("RGB", (2 * side, 2 * side))
            small = _on_white(ImageOps.exif_transpose(image))
        if crop is not None:
            small = small.crop(crop.box)
    # Pillow's decoders raise nearly anything on damaged files; the page shows a placeholder.
    except Exception:
        return None
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    small.info.clear()
    out = io.BytesIO()
    small.save(out, "JPEG", quality=74, optimize=True)
    return out.getvalue(), small.width / small.height


def _source(location: str) -> str | io.BytesIO:
    """What Pillow opens: a file by its name, else the bytes."""
    location = whole_image(location)
    return location if is_file(location) else io.BytesIO(read_bytes(location, MAX_BYTES))


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        image = image.convert("I").point(lambda value: value / 256).convert("L")
    if "A" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


class Album:
    """The images of one page: every file gets one CSS class, whose background is its thumbnail.

    Args:
        paths: the places, in any order, any number of times.
        side: the longer side of a thumbnail; larger on a page of few images when None.
        known: thumbnails made earlier, as for the same page before it was whole; those made now are
            added.
    """

    def __init__(
        self,
        paths: Iterable[Place],
        side: int | None = None,
        known: Thumbnails | None = None,
    ) -> None:
        wanted = list(dict.fromkeys(paths))
        longest = side or (LARGE_SIDE if len(wanted) <= FEW else SIDE)
        known = {} if known is None else known
        missing = [path for path in wanted if (path, longest) not in known]
        with ThreadPoolExecutor(min(8, count_processors())) as pool:
            made = pool.map(lambda path: thumbnail(path, longest), missing)
            for path, one in zip(missing, progress(made, "thumbnails", len(missing)), strict=True):
                known[path, longest] = one
        found = {path: known[path, longest] for path in wanted}
        small = {path: one for path, one in found.items() if one is not None}
        self._names = {path: f"p{number}" for number, path in enumerate(small)}
        self._small = small

    def name(self, path: Place | None) -> str:
        """The CSS class of an image, "" when it cannot be shown."""
        return self._names.get(path, "") if path is not None else ""

    def css(self) -> str:
        """One rule an image: its thumbnail as a data URI, and how wide that is."""
        return "".join(
            _describe_style(name, self._small[path][0]) for path, name in self._names.items()
        )

    def address(self, name: str) -> str:
        """The data URI of the image that has this CSS class."""
        path = next(path for path, one in self._names.items() if one == name)
        return _spell_data(self._small[path][0])

    def shape(self) -> str:
        """ "tall", "square" or "wide": what most images are."""
        ratio = statistics.median(one[1] for one in self._small.values()) if self._small else 1.0
        return "tall" if ratio < 0.7 else "wide" if ratio > 1.2 else "square"


def _describe_style(name: str, jpeg: bytes) -> str:
    width = Image.open(io.BytesIO(jpeg), formats=("JPEG",)).width
    return f".{name}{{--width:{width}px;background-image:url({_spell_data(jpeg)})}}\n"


def _spell_data(jpeg: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode('ascii')}"
