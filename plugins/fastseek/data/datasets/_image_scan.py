"""Which files of a folder are images, and what is passed over: named and counted."""

from __future__ import annotations

import collections
import dataclasses
import logging
import os
import pathlib
from collections.abc import Sequence

from ...io.image_formats import ON_REQUEST, accepted_suffixes, name_option
from ...io.locations import list_below
from ...io.text_table import count_noun

logger = logging.getLogger(__name__)

# Images all the same, whose decoders are large and rarely needed.
UNREAD = frozenset(
    """.tif .tiff .heic .heif .avif .jp2 .j2k .jxl .jxr .psd .svg .ico .tga .dds .exr .hdr .ppm .pgm
    .pbm .pnm .dng .cr2 .cr3 .nef .arw .orf .rw2 .raf .raw""".split()
)
# Hidden folders of programs, in which nobody looks for images of theirs.
TOOLS = frozenset(".git .svn .hg .ipynb_checkpoints .idea .vscode .Trash".split())
SHOWN = 5  # names in one message


@dataclasses.dataclass
class ImageScan:
    """What lies in a folder and below.

    Args:
        base: the folder.
        images: image files in sorted order, whole paths.
        unread: files of image formats that are not read, or whose name has no suffix.
        others: files that are no images.
        empty: folders without an image in them or below, the topmost only.
        hidden: hidden folders, which are not looked into, and hidden files called as images are.
    """

    base: str
    images: list[str] = dataclasses.field(default_factory=list)
    unread: list[str] = dataclasses.field(default_factory=list)
    others: list[str] = dataclasses.field(default_factory=list)
    empty: list[str] = dataclasses.field(default_factory=list)
    hidden: list[str] = dataclasses.field(default_factory=list)

    def report(self) -> None:
        """Log what is passed over, by its number, kind and first names."""
        if self.unread:
            names = [os.path.relpath(path, self.base) for path in self.unread]
            logger.warning("%s: %s", self.base, describe_unread(names))
        if self.empty:
            logger.warning(
                "%s: %d folders hold no image and make no class: %s",
                self.base,
                len(self.empty),
                self._name(self.empty),
            )
        if self.hidden:
            logger.warning(
                "%s: %s passed over: %s",
                self.base,
                count_noun(len(self.hidden), "hidden folder or image", "hidden folders and images"),
                self._name(self.hidden),
            )
        if self.others:
            logger.info(
                "%s: %d files are no images (%s)",
                self.base,
                len(self.others),
                _count_suffixes(self.others),
            )

    def _name(self, paths: Sequence[str]) -> str:
        names = [os.path.relpath(path, self.base) for path in paths[:SHOWN]]
        return _join_first(names, len(paths))


def scan_images(base: str) -> ImageScan:
    """Look through a folder; linked folders are followed, each real folder once, hidden files and
    folders left out.
    """
    # A slash at the end would never be met again on the way up from a folder below.
    base, suffixes = str(pathlib.PurePath(base)), accepted_suffixes()
    found, real_folders = ImageScan(base), set()
    visited, filled = [], {base}
    for here, folders, files in os.walk(base, followlinks=True):
        real = os.path.realpath(here)
        if real in real_folders:
            folders[:] = []
            continue
        real_folders.add(real)
        visited.append(here)
        found.hidden += _find_hidden(here, folders, files, suffixes)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        before = len(found.images)
        for name in sorted(files):
            if not name.startswith("."):
                _sort_file(found, os.path.join(here, name), suffixes)
        if len(found.images) > before:
            filled.update(_above(here, base))
    found.empty = [
        path for path in visited if path not in filled and os.path.dirname(path) in filled
    ]
    return found


def scan_address(url: str) -> ImageScan:
    """Look through what lies below an address, in the order of `scan_images`."""
    base, suffixes = url.rstrip("/"), accepted_suffixes()
    found = ImageScan(base)
    for name in sorted(list_below(base), key=_walking_order):
        path = f"{base}/{name}"
        if not any(part.startswith(".") for part in name.split("/")):
            _sort_file(found, path, suffixes)
        elif pathlib.PurePath(name).suffix.lower() in suffixes:
            found.hidden.append(path)
    return found


def _walking_order(name: str) -> tuple[list[str], str]:
    """A folder's files before those of the folders in it."""
    *folders, last = name.split("/")
    return folders, last


def _find_hidden(
    here: str, folders: Sequence[str], files: Sequence[str], suffixes: Sequence[str]
) -> list[str]:
    """What an image could be missed for; of what lies beside images for programs, such as
    .DS_Store, nothing is said.
    """
    images = [name for name in files if pathlib.PurePath(name).suffix.lower() in suffixes]
    names = sorted(name for name in (*folders, *images) if name.startswith("."))
    return [os.path.join(here, name) for name in names if name not in TOOLS]


def _sort_file(found: ImageScan, path: str, suffixes: Sequence[str]) -> None:
    suffix = pathlib.PurePath(path).suffix.lower()
    if suffix in suffixes:
        found.images.append(path)
    elif suffix in UNREAD or not suffix:
        found.unread.append(path)
    else:
        found.others.append(path)


def _above(folder: str, base: str) -> list[str]:
    """A folder and those above it, up to `base`."""
    found = [folder]
    while found[-1] != base:
        found.append(os.path.dirname(found[-1]))
    return found


def describe_unread(names: Sequence[str]) -> str:
    """How many files of images are passed over, and what can be done about it."""
    return (
        f"{len(names)} files are passed over ({_count_suffixes(names)}), such as"
        f" {_join_first(names[:SHOWN], len(names))}: {_remedy(names)}"
    )


def _join_first(names: Sequence[str], count: int) -> str:
    return ", ".join(names) + (", …" if count > SHOWN else "")


def _remedy(paths: Sequence[str]) -> str:
    """What the user can do about files of formats that are not opened by themselves."""
    found = {pathlib.PurePath(path).suffix.lower() for path in paths}
    names = [name for name, one in ON_REQUEST.items() if found & set(one.suffixes)]
    if not names:
        return "save them as JPEG or PNG"
    return f"{name_option(*names)} opens them, or save them as JPEG or PNG"


def _count_suffixes(paths: Sequence[str]) -> str:
    """Such as "12 .heic, 1 without suffix"."""
    counts = collections.Counter(pathlib.PurePath(path).suffix.lower() for path in paths)
    order = sorted(counts, key=lambda suffix: (-counts[suffix], suffix))
    return ", ".join(f"{counts[suffix]} {suffix or 'without suffix'}" for suffix in order)
