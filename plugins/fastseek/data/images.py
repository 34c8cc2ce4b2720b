"""The image normal form: any image file to upright 8-bit RGB, or one named reason why not."""

from __future__ import annotations

import io
import logging
import os
import stat

import numpy as np
from PIL import Image

from ..errors import refuse_exhausted
from ..io import locations
from ..io.crop_locations import Crop, parse_crop
from ..io.image_formats import accepted_formats, name_of_format, name_option
from ..io.paths import PathLike

logger = logging.getLogger(__name__)

NORMAL_FORM = 1  # rises whenever the same file would give other pixels
MAX_PIXELS = 64_000_000
MOST_BYTES = 8 * MAX_PIXELS + 2**20  # of a file that can hold so many
MIN_SIDE = 4

_MAGIC = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"RIFF": "WEBP",
    b"GIF8": "GIF",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"8BPS": "PSD",
    b"\0\0\0\x0cjP  ": "JPEG2000",
    b"%PDF": "PDF",
    b"%!PS": "EPS",
}
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ORIENTATION = 0x0112


class BadImage(Exception):
    """An image that cannot be used.

    Args:
        code: MISSING, PERMISSION, EMPTY, TRUNCATED, UNKNOWN_FORMAT, FORMAT_NOT_ALLOWED, TOO_LARGE,
            TOO_SMALL or DECODE_ERROR.
        detail: one line for a person.
    """

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(code, detail)
        self.code = code
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.code}: {self.detail}"


def decode(
    source: PathLike | bytes, max_pixels: int = MAX_PIXELS, formats: tuple[str, ...] = ()
) -> Image.Image:
    """Read one image into the normal form: first frame, upright, 8-bit RGB.

    Transparency is laid on white, 16 bits are scaled to 8, CMYK is converted without a profile; a
    broken EXIF block leaves the image as stored.

    Args:
        source: a file, another location (see `io.locations`), or the bytes themselves.
        max_pixels: larger images are refused from their header, before any pixel is decoded.
        formats: Pillow's names of the formats accepted; those of `io.image_formats` when not given.

    Raises:
        BadImage: it cannot be used; half-decoded pixels are never returned.
    """
    crop = None if isinstance(source, bytes) else parse_crop(os.fspath(source))
    if crop is not None:
        return cut_out(decode(crop.file, max_pixels, formats), crop)
    data = source if isinstance(source, bytes) else read_image_bytes(source, max_pixels)
    image = _open(data, max_pixels, formats or accepted_formats())
    try:
        image.load()
        if image.format in ("PNG", "WEBP") and not _is_whole(data, image.format):
            raise BadImage("TRUNCATED", f"{len(data)} bytes and no end of the {image.format} file")
        return turn_upright(image)
    except BadImage:
        raise
    except Exception as error:  # Pillow's decoders raise whatever the damaged bytes lead them to
        cut = "truncated" in str(error) or not _is_whole(data, image.format)
        raise BadImage("TRUNCATED" if cut else "DECODE_ERROR", _line(error)) from error


def cut_out(image: Image.Image, crop: Crop) -> Image.Image:
    """What a box of an upright image holds; sides are rounded to whole pixels, and what reaches
    beyond the image is left out.

    Raises:
        BadImage: less than 4 pixels are left of a side.
    """
    left, top, right, bottom = map(round, crop.box)
    left, top = max(0, left), max(0, top)
    right, bottom = min(image.width, right), min(image.height, bottom)
    if min(right - left, bottom - top) < MIN_SIDE:
        raise BadImage(
            "TOO_SMALL",
            f"of {image.width} x {image.height} pixels the box {crop.box} holds"
            f" {max(0, right - left)} x {max(0, bottom - top)}, a side below {MIN_SIDE}",
        )
    return image.crop((left, top, right, bottom))


def read_image_bytes(source: PathLike, max_pixels: int = MAX_PIXELS) -> bytes:
    """The bytes of an image file, no more than an image of so many pixels can need.

    Raises:
        BadImage: there are none, or more.
    """
    return _read_bytes(source, 8 * max_pixels + 2**20)


def shape_of(path: PathLike) -> float:
    """Width / height of an image as `decode` turns it, from its header alone; 1 where that cannot be
    read.
    """
    text = os.fspath(path)
    crop = parse_crop(text)
    if crop is not None:
        return crop.shape
    try:
        held = text if locations.is_file(text) else io.BytesIO(read_image_bytes(path))
        with Image.open(held, formats=accepted_formats()) as image:
            turned = image.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8)
            width, height = image.size
            return height / width if turned else width / height
    except Exception:  # as in `decode`: the header may be damaged in any way
        return 1.0


def _read_bytes(path: PathLike, max_bytes: int) -> bytes:
    text = os.fspath(path)
    try:
        if not locations.is_file(text):
            data = locations.read_bytes(text, max_bytes + 1)
            if len(data) > max_bytes:
                raise BadImage("TOO_LARGE", f"more than {max_bytes} bytes")
            return data
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):  # a FIFO or device would block the reader for ever
            raise BadImage("MISSING", "is not a regular file")
        if status.st_size == 0:
            raise BadImage("EMPTY", "has 0 bytes")
        if status.st_size > max_bytes:
            raise BadImage("TOO_LARGE", f"{status.st_size} bytes, more than {max_bytes}")
        with open(path, "rb") as file:
            return file.read()
    except PermissionError as error:
        raise BadImage("PERMISSION", _line(error)) from error
    except (OSError, ValueError) as error:
        refuse_exhausted(error, path)  # the image is whole
        raise BadImage("MISSING", _line(error)) from error


def _open(data: bytes, max_pixels: int, formats: tuple[str, ...]) -> Image.Image:
    if not data:
        raise BadImage("EMPTY", "has 0 bytes")
    try:
        image = Image.open(io.BytesIO(data), formats=formats)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise BadImage("TOO_LARGE", _line(error)) from error
    except Exception as error:  # as above: the header may be damaged in any way
        raise _not_opened(data, formats, error) from error
    width, height = image.size
    if width * height > max_pixels:
        raise BadImage("TOO_LARGE", f"{width} x {height} pixels, more than {max_pixels}")
    if min(width, height) < MIN_SIDE:
        raise BadImage("TOO_SMALL", f"{width} x {height} pixels, a side below {MIN_SIDE}")
    return image


def _not_opened(data: bytes, formats: tuple[str, ...], error: Exception) -> BadImage:
    kind = next((name for magic, name in _MAGIC.items() if data.startswith(magic)), None)
    if data[4:8] == b"ftyp":
        kind = "AVIF" if data[8:12] in (b"avif", b"avis") else "HEIF"
    if kind is None:
        return BadImage("UNKNOWN_FORMAT", f"is no image; begins with {data[:12]!r}")
    if kind not in formats:
        name = name_of_format(kind)
        more = f"; {name_option(name)} opens it" if name else ""
        return BadImage("FORMAT_NOT_ALLOWED", f"{kind}; accepted are {', '.join(formats)}{more}")
    return BadImage("DECODE_ERROR" if _is_whole(data, kind) else "TRUNCATED", _line(error))


def _is_whole(data: bytes, kind: str | None) -> bool:
    """Whether the file's own end is there; of a PNG or WebP whose pixels are all there Pillow does
    not ask it.
    """
    if kind == "WEBP":
        return len(data) >= 8 + int.from_bytes(data[4:8], "little")
    if kind == "BMP":
        return len(data) >= int.from_bytes(data[2:6], "little")
    if kind == "PNG":
        return b"IEND\xaeB`\x82" in data
    if kind == "GIF":
        return data.rstrip(b"\0").endswith(b";")
    return kind not in ("JPEG", "MPO") or b"\xff\xd9" in data[-4096:]


def turn_upright(image: Image.Image) -> Image.Image:
    """An image of Pillow, of any mode, as upright 8-bit RGB."""
    rgb = to_rgb(image)
    try:
        method = _UPRIGHT.get(image.getexif().get(_ORIENTATION, 1))
    except Exception as error:  # damaged EXIF says nothing about the pixels
        logger.debug("EXIF cannot be read (%s): the image is used as stored", _line(error))
        return rgb
    return rgb if method is None else rgb.transpose(method)


def to_rgb(image: Image.Image) -> Image.Image:
    """Any image mode to RGB: transparency on white, 16 bits scaled to 8, floats taken as 0..255."""
    if image.mode.startswith("I"):
        return _from_numbers(np.clip(np.asarray(image).astype(np.float64), 0, 65535) / 257)
    if image.mode == "F":
        return _from_numbers(np.clip(np.nan_to_num(np.asarray(image)), 0, 255))
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGB", image.size, (255, 255, 255))
        white.paste(rgba, mask=rgba.getchannel("A"))
        return white
    return image if image.mode == "RGB" else image.convert("RGB")


def _from_numbers(grey: np.ndarray) -> Image.Image:
    return Image.fromarray(np.rint(grey).astype(np.uint8)).convert("RGB")


def _line(error: Exception) -> str:
    text = (
        (error.strerror if isinstance(error, OSError) else None)
        or str(error)
        or type(error).__name__
    )
    return " ".join(text.split())
