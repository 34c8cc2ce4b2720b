"""Which formats of image files are opened: some always, others where the user names them."""

from __future__ import annotations

import functools
import importlib.util
import os
from collections.abc import Sequence
from typing import NamedTuple

from ..errors import UsageError
from ..suggestions import did_you_mean

VARIABLE = "FASTSEEK_FORMATS"  # names, apart by spaces or commas; loader workers inherit it


class Format(NamedTuple):
    """A format whose decoder is large and rarely needed.

    Args:
        pillow: Pillow's name of it.
        suffixes: of its files.
        package: what Pillow needs to read it, "" for Pillow alone.
    """

    pillow: str
    suffixes: tuple[str, ...]
    package: str = ""


ALWAYS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
# .jfif, .jpe and .jfi are JPEG, as Windows and old cameras name it.
ALWAYS_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".jfi", ".png", ".webp", ".gif", ".bmp")
ON_REQUEST = {
    "heic": Format("HEIF", (".heic", ".heif"), "pillow-heif"),
    "tiff": Format("TIFF", (".tif", ".tiff")),
    "avif": Format("AVIF", (".avif",)),
}


def accept_formats(names: Sequence[str]) -> None:
    """Let this process, and those it starts, open formats beside those that are always opened.

    Args:
        names: keys of ON_REQUEST; they replace what was named before.

    Raises:
        UsageError: a format is unknown, or cannot be read here; says what to install.
    """
    _find_formats(" ".join(names))
    os.environ[VARIABLE] = " ".join(names)


def accepted_formats() -> tuple[str, ...]:
    """Pillow's names of all formats that are opened.

    Raises:
        UsageError: as `accept_formats`, of what the environment names.
    """
    return ALWAYS + tuple(one.pillow for one in _find_formats(os.environ.get(VARIABLE, "")))


def accepted_suffixes() -> tuple[str, ...]:
    """The suffixes of their files, in small letters.

    Raises:
        UsageError: as `accepted_formats`.
    """
    found = _find_formats(os.environ.get(VARIABLE, ""))
    return ALWAYS_SUFFIXES + tuple(suffix for one in found for suffix in one.suffixes)


def name_of_format(pillow: str) -> str:
    """What the user calls one of Pillow's formats that is opened on request, "" for others."""
    return next((name for name, one in ON_REQUEST.items() if one.pillow == pillow), "")


def name_option(*names: str) -> str:
    """How the user asks for formats."""
    return f"--formats {' '.join(names)} (or {VARIABLE}={','.join(names)})"


@functools.lru_cache
def _find_formats(names: str) -> tuple[Format, ...]:
    """The formats of some names; what reads them is made ready."""
    found = {}
    for name in names.replace(",", " ").lower().split():
        if name not in ON_REQUEST:
            near = did_you_mean(name, ON_REQUEST)
            raise UsageError(f"no image format {name!r}: there are {', '.join(ON_REQUEST)}{near}")
        found[name] = ON_REQUEST[name]
        _make_ready(name, found[name])
    return tuple(found.values())


def _make_ready(name: str, kind: Format) -> None:
    """Let Pillow know a format.

    Raises:
        UsageError: it cannot read it here.
    """
    if kind.package:
        if importlib.util.find_spec(kind.package.replace("-", "_")) is None:
            raise UsageError(f"reading .{name} needs {kind.package}: pip install {kind.package}")
        import pillow_heif

        pillow_heif.register_heif_opener(thumbnails=False)
        return
    from PIL import features

    if kind.pillow == "AVIF" and not features.check("avif"):
        raise UsageError("this Pillow was built without AVIF: pip install --upgrade pillow")
