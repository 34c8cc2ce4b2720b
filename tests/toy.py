"""A synthetic gallery: every class is a coloured shape on noise, drawn from a seed, so answers can
be seen.
"""

from __future__ import annotations

import colorsys
import pathlib

import numpy as np
from PIL import Image, ImageDraw

SHAPES = ("circle", "square", "triangle", "bar")


def photo(label: int, number: int, size: int = 64) -> Image.Image:
    """Photo `number` of class `label`: hue and shape tell the class, place, size and noise the
    photo.
    """
    random = np.random.default_rng((label, number))
    image = Image.fromarray(random.integers(90, 166, (size, size, 3)).astype(np.uint8))
    red, green, blue = colorsys.hsv_to_rgb((label * 0.381966) % 1, 0.9, 0.5 + 0.5 * (label % 2))
    colour = tuple(int(255 * part) for part in (red, green, blue))
    x, y = random.uniform(0.35, 0.65, 2) * size
    half = random.uniform(0.2, 0.3) * size
    draw = ImageDraw.Draw(image)
    shape = SHAPES[label % len(SHAPES)]
    box = (x - half, y - half, x + half, y + half)
    if shape == "circle":
        draw.ellipse(box, fill=colour)
    elif shape == "square":
        draw.rectangle(box, fill=colour)
    elif shape == "triangle":
        draw.polygon([(x, y - half), (x - half, y + half), (x + half, y + half)], fill=colour)
    else:
        draw.rectangle((x - half, y - half / 3, x + half, y + half / 3), fill=colour)
    return image


def gallery(
    folder: pathlib.Path, classes: int = 8, train: int = 6, query: int = 2, size: int = 64
) -> pathlib.Path:
    """Write train/, query/ and gallery/ folders of class folders below `folder`; return it."""
    plan = {
        "train": range(train),
        "query": range(100, 100 + query),
        "gallery": range(200, 200 + train),
    }
    for split, numbers in plan.items():
        for label in range(classes):
            home = folder / split / f"class_{label:02d}"
            home.mkdir(parents=True, exist_ok=True)
            for number in numbers:
                photo(label, number, size).save(home / f"{number:04d}.jpg", quality=92)
    return folder


def market(folder: pathlib.Path, people: int = 8, cameras: int = 3, shots: int = 2) -> pathlib.Path:
    """Write a Market-1501 tree (Market-1501-v15.09.15/…) below `folder`; return `folder`."""
    root = folder / "Market-1501-v15.09.15"
    for split, first in (("bounding_box_train", 0), ("bounding_box_test", 50), ("query", 50)):
        (root / split).mkdir(parents=True, exist_ok=True)
        for person in range(first, first + people):
            for camera in range(1, cameras + 1):
                for shot in range(1 if split == "query" else shots):
                    name = (
                        f"{person + 1:04d}_c{camera}s1_{shot + 10 * (split == 'query'):06d}_00.jpg"
                    )
                    image = photo(person, camera * 10 + shot + 100 * (split == "query"))
                    image.resize((32, 64)).save(root / split / name, quality=92)
    return folder


def flip(file: pathlib.Path) -> None:
    """Change one bit of the last byte but one."""
    content = bytearray(file.read_bytes())
    content[-2] ^= 1
    file.write_bytes(content)


def circle(labels: np.ndarray, seed: int = 0, spread: float = 0.1, dim: int = 8) -> np.ndarray:
    """Unit vectors [N, dim] float32, one direction a class with some spread around it."""
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(int(np.max(labels)) + 1, dim))
    vectors = centres[labels] / np.linalg.norm(centres[labels], axis=1, keepdims=True)
    vectors = vectors + random.normal(scale=spread, size=vectors.shape)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
