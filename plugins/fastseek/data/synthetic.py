"""A synthetic gallery, drawn in seconds: every class is a colored shape on noise.

It is what a recipe is tried on where its own images are not at hand, and what the tests train on.
"""

from __future__ import annotations

import colorsys
import pathlib
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageDraw

GOLDEN_RATIO = 0.381966  # as a step on the color circle it keeps the hues of many classes apart
QUERIES_FROM, GALLERY_FROM = 100, 200  # image numbers, so that no split repeats another's images
Box = tuple[float, float, float, float]


def draw_image(label: int, number: int, size: int = 64) -> Image.Image:
    """Draw image `number` of class `label`.

    Hue and shape tell the class; position, size and noise tell the image. The same numbers give the
    same pixels.

    Args:
        label: 0 or above.
        number: 0 or above.
        size: side in pixels.
    """
    random = np.random.default_rng((label, number))
    image = Image.fromarray(random.integers(90, 166, (size, size, 3)).astype(np.uint8))
    x, y = random.uniform(0.35, 0.65, 2) * size
    half = random.uniform(0.2, 0.3) * size
    draw_shape = SHAPES[label % len(SHAPES)]
    draw_shape(ImageDraw.Draw(image), (x - half, y - half, x + half, y + half), _color(label))
    return image


def write_gallery(
    folder: pathlib.Path,
    classes: int = 8,
    train: int | Sequence[int] = 6,
    query: int = 2,
    gallery: int | None = None,
    size: int = 64,
) -> pathlib.Path:
    """Write train/, query/ and gallery/ with a folder for every class.

    Args:
        folder: made where it is missing.
        classes: how many.
        train: training images of every class: one number, or one for each class.
        query: queries of every class.
        gallery: gallery images of every class; as many as training images when not given.
        size: side of the images in pixels.

    Returns:
        the folder.
    """
    trained = [train] * classes if isinstance(train, int) else list(train)
    for label, count in enumerate(trained):
        listed = count if gallery is None else gallery
        numbers = {
            "train": range(count),
            "query": range(QUERIES_FROM, QUERIES_FROM + query),
            "gallery": range(GALLERY_FROM, GALLERY_FROM + listed),
        }
        for split, wanted in numbers.items():
            home = folder / split / f"class_{label:02d}"
            home.mkdir(parents=True, exist_ok=True)
            for number in wanted:
                draw_image(label, number, size).save(home / f"{number:04d}.jpg", quality=92)
    return folder


def _color(label: int) -> tuple[int, int, int]:
    value = 0.5 + 0.5 * (label % 2)
    red, green, blue = colorsys.hsv_to_rgb((label * GOLDEN_RATIO) % 1, 0.9, value)
    return int(255 * red), int(255 * green), int(255 * blue)


def _circle(draw: ImageDraw.ImageDraw, box: Box, color: tuple[int, int, int]) -> None:
    draw.ellipse(box, fill=color)


def _square(draw: ImageDraw.ImageDraw, box: Box, color: tuple[int, int, int]) -> None:
    draw.rectangle(box, fill=color)


def _triangle(draw: ImageDraw.ImageDraw, box: Box, color: tuple[int, int, int]) -> None:
    left, top, right, bottom = box
    draw.polygon([((left + right) / 2, top), (left, bottom), (right, bottom)], fill=color)


def _bar(draw: ImageDraw.ImageDraw, box: Box, color: tuple[int, int, int]) -> None:
    left, top, right, bottom = box
    third = (bottom - top) / 3
    draw.rectangle((left, top + third, right, bottom - third), fill=color)


SHAPES: tuple[Callable[[ImageDraw.ImageDraw, Box, tuple[int, int, int]], None], ...] = (
    _circle,
    _square,
    _triangle,
    _bar,
)
