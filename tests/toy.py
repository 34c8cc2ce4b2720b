"""What tests are made of: the synthetic gallery, trees of known data sets, vectors, damage."""

from __future__ import annotations

import pathlib

import numpy as np

from fastseek.data.synthetic import draw_image as photo
from fastseek.data.synthetic import write_gallery as gallery

__all__ = ["circle", "flip", "gallery", "market", "photo"]


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
