"""How well planted noise is told from none: detection rates a class, and false alarms.

    python benchmarks/noise_detection.py --out benchmarks/results/noise_detection.json

Images taken in shops, which are large, and thumbnails of landmarks are measured clean and with
impulses, Gaussian noise and both planted into them, at the size they were stored in; once as
planted and once saved as JPEG after it, as noisy images mostly come. The images themselves are JPEG,
and what noise a camera left in them counts as clean. Drawn pages of text, checkerboards and shapes
have no noise at all, and are looked at clean only.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from measure import write
from PIL import Image, ImageDraw, ImageFont
from planted import planted, through_jpeg

from fastseek.data.datasets.grocery import Grocery
from fastseek.data.datasets.landmarks import Landmarks
from fastseek.data.images import decode
from fastseek.data.transforms import _noise_level
from fastseek.progress import progress

FORMS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "as planted": lambda pixels: pixels,
    "JPEG quality 95": lambda pixels: through_jpeg(pixels, 95),
    "JPEG quality 75": lambda pixels: through_jpeg(pixels, 75),
}


LIMITS = (
    (_noise_level.NEAR, _noise_level.JUMP),
    (10, 60),
)  # ours, and what would do if nobody saved images as JPEG


def shop_images(count: int) -> list[np.ndarray]:
    """Images spread evenly over Grocery's test part."""
    return _spread([item.path for item in Grocery().items if item.split == "query"], count)


def thumbnails(count: int) -> list[np.ndarray]:
    """Images of Landmarks spread evenly, about 200 pixels wide."""
    return _spread(sorted({item.path for item in Landmarks().items}), count)


def _spread(paths: list[str], count: int) -> list[np.ndarray]:
    rows = np.linspace(0, len(paths) - 1, min(count, len(paths))).astype(int)
    return [np.array(decode(paths[row])) for row in rows]


def graphics() -> list[np.ndarray]:
    """Pages of text in four sizes, black on white and white on black, checkerboards, and shapes."""
    pages = [_page(size, paper) for size in (10, 14, 18, 24) for paper in (255, 0)]
    squares = [(np.indices((160, 200)) // side).sum(0) % 2 for side in (1, 2, 4, 8, 16)]
    boards = [np.repeat(np.uint8(255 * one)[..., None], 3, axis=2) for one in squares]
    return [*pages, *boards, _shapes()]


def _page(size: int, paper: int) -> np.ndarray:
    image = Image.new("RGB", (400, 300), (paper,) * 3)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(size)
    for top in range(6, 300 - size, size + 6):
        line = "Instance retrieval finds the same thing in another image."
        draw.text((12, top), line, fill=(255 - paper,) * 3, font=font)
    return np.array(image)


def _shapes() -> np.ndarray:
    image = Image.new("RGB", (200, 160), (250, 250, 250))
    draw = ImageDraw.Draw(image)
    draw.ellipse((20, 20, 90, 90), fill=(200, 30, 40))
    draw.polygon([(110, 30), (180, 60), (120, 120)], fill=(20, 80, 180))
    return np.array(image)


def false_alarms(name: str, form: str, found: list[np.ndarray]) -> dict[str, Any]:
    """One row: the share of images without noise that are told to have some."""
    alarms = [_noise_level.measure(FORMS[form](one)).kind != _noise_level.CLEAN for one in found]
    return {
        "images": name,
        "form": form,
        "count": len(found),
        "near": _noise_level.NEAR,
        "jump": _noise_level.JUMP,
        "false alarms": round(float(np.mean(alarms)), 4),
    }


def measured(
    name: str,
    form: str,
    found: list[np.ndarray],
    seed: int,
    near: int,
    jump: int,
) -> dict[str, Any]:
    """One row: the share of images of each kind that are told as each kind, and how far the figures
    are off.
    """
    table = np.zeros((4, 4), int)
    errors: dict[str, list[float]] = {"share": [], "sigma": []}
    started = time.perf_counter()
    for row, pixels in enumerate(progress(found, f"{name}, {form}")):
        for kind in range(4):
            noisy, share, sigma = planted(pixels, kind, np.random.default_rng([seed, row, kind]))
            told = _noise_level.measure(FORMS[form](noisy), near=near, jump=jump)
            table[kind, told.kind] += 1
            if kind == _noise_level.IMPULSE:
                errors["share"].append(told.share / share - 1)
            if kind == _noise_level.GAUSSIAN:
                errors["sigma"].append(told.sigma / sigma - 1)
    rates = {
        planted_: {
            told: round(float(table[i, j] / table[i].sum()), 4)
            for j, told in enumerate(_noise_level.NAMES)
        }
        for i, planted_ in enumerate(_noise_level.NAMES)
    }
    impulse = [table[kind, told] for kind in (1, 3) for told in (1, 3)]
    gaussian = [table[kind, told] for kind in (2, 3) for told in (2, 3)]
    return {
        "images": name,
        "form": form,
        "count": len(found),
        "near": near,
        "jump": jump,
        "told as": rates,
        "accuracy": round(float(np.trace(table) / table.sum()), 4),
        "false alarms": round(float(1 - table[0, 0] / table[0].sum()), 4),
        "impulses found": round(float(sum(impulse) / table[[1, 3]].sum()), 4),
        "gaussian found": round(float(sum(gaussian) / table[[2, 3]].sum()), 4),
        "median relative error": {
            name: round(float(np.median(values)), 4) for name, values in errors.items()
        },
        "seconds an image": round((time.perf_counter() - started) / (4 * len(found)), 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", "--photos", type=int, default=150)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out")
    args = parser.parse_args()
    sources = {"shops": shop_images(args.images), "thumbnails": thumbnails(args.images)}
    rows = [
        measured(name, form, found, args.seed, near, jump)
        for near, jump in LIMITS
        for name, found in sources.items()
        for form in FORMS
    ]
    rows += [false_alarms("graphics", form, graphics()) for form in FORMS]
    every_thumbnail = thumbnails(10**6)
    rows.append(false_alarms("all thumbnails", "as planted", every_thumbnail))
    for row in rows:
        rates = "".join(
            f", {key} {row[key]:.3f}"
            for key in ("accuracy", "impulses found", "gaussian found")
            if key in row
        )
        print(
            f"{row['images']:14} {row['form']:16} ({row['near']}, {row['jump']}):"
            f" false alarms {row['false alarms']:.3f}{rates}"
        )
    write(
        args.out,
        "kinds of planted noise told by noise.measure, thresholds 0.01 and 10, on images of"
        " Grocery and Landmarks, and on graphics",
        ("opencv-python-headless", "numpy", "pillow"),
        rows,
    )


if __name__ == "__main__":
    main()
