"""Photo files as the world has them, good and bad, made on the spot."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image

SIZE = (24, 16)


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    """The bytes of a file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def plain(mode: str, colour) -> Image.Image:
    """One colour all over."""
    return Image.new(mode, SIZE, colour)


def scene(size: tuple[int, int] = (60, 40)) -> Image.Image:
    """A smooth picture with noise, no two corners alike."""
    width, height = size
    y, x = np.mgrid[:height, :width]
    noise = np.random.default_rng(0).integers(0, 30, (height, width))
    channels = [200 * x / width + noise, 200 * y / height + noise, 200 - 200 * x / width + noise]
    return Image.fromarray(np.stack(channels, 2).astype(np.uint8))


def palette(colours: list[tuple[int, ...]]) -> Image.Image:
    """A palette image whose pixels are all index 1."""
    image = Image.new("P", SIZE, 1)
    image.putpalette([value for colour in colours for value in colour])
    return image


def png(width: int, height: int, depth: int, kind: int, rows: bytes) -> bytes:
    """A PNG written by hand: `rows` are the raw rows, each with its filter byte."""
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    chunks = (b"IHDR", header), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b"")
    packed = [
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def wide_rgb(red: int, green: int, blue: int) -> bytes:
    """A PNG with 16 bits a channel, which Pillow reads but cannot write."""
    row = b"\0" + struct.pack(">HHH", red, green, blue) * SIZE[0]
    return png(*SIZE, 16, 2, row * SIZE[1])


def bomb(side: int = 20_000) -> bytes:
    """A small PNG of side x side black pixels, one bit each in the file and one byte each once
    decoded.
    """
    return png(side, side, 1, 0, (b"\0" * (1 + side // 8)) * side)


def good_files() -> dict[str, bytes]:
    """One whole file of each kind that is accepted."""
    image = scene()
    still, moved = scene(), Image.fromarray(np.asarray(scene())[::-1])
    return {
        "baseline.jpg": encoded(image, "JPEG", quality=90),
        "progressive.jpg": encoded(image, "JPEG", quality=90, progressive=True),
        "photo.png": encoded(image, "PNG"),
        "lossy.webp": encoded(image, "WEBP", quality=80),
        "lossless.webp": encoded(image, "WEBP", lossless=True),
        "photo.bmp": encoded(image, "BMP"),
        "photo.gif": encoded(image.quantize(), "GIF"),
        "moving.gif": encoded(
            still.quantize(), "GIF", save_all=True, append_images=[moved.quantize()]
        ),
        "moving.webp": encoded(still, "WEBP", save_all=True, append_images=[moved], lossless=True),
        "moving.png": encoded(still, "PNG", save_all=True, append_images=[moved]),
    }


def bad_files() -> dict[str, tuple[bytes, str]]:
    """Files that are no usable photo: name -> (bytes, code)."""
    whole = encoded(scene(), "JPEG")
    return {
        "empty.jpg": (b"", "EMPTY"),
        "page.jpg": (b"<!DOCTYPE html><html><body>404 Not Found</body></html>", "UNKNOWN_FORMAT"),
        "note.png": ("Straße, kein Bild\n".encode(), "UNKNOWN_FORMAT"),
        "half.jpg": (whole[: len(whole) // 2], "TRUNCATED"),
        "scan.tiff.jpg": (encoded(scene(), "TIFF"), "FORMAT_NOT_ALLOWED"),
        "phone.heic.jpg": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "FORMAT_NOT_ALLOWED"),
        "thin.png": (encoded(Image.new("RGB", (200, 1)), "PNG"), "TOO_SMALL"),
        "dot.png": (encoded(Image.new("RGB", (1, 1)), "PNG"), "TOO_SMALL"),
        "bomb.png": (bomb(), "TOO_LARGE"),
    }
