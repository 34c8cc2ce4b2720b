"""How well planted noise is told from none: detection rates a class on photos taken in shops.

    python benchmarks/noise_detection.py --out benchmarks/results/noise_detection.json

Every photo is measured clean and with impulses, Gaussian noise and both planted into it, at the
size it was stored in; once as planted and once saved as JPEG after it, as noisy photos mostly come.
The photos themselves are JPEG, and what noise a camera left in them counts as clean.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from measure import write
from planted import planted, through_jpeg

from fastseek.data.datasets.grocery import Grocery
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
)  # ours, and what would do if nobody saved photos as JPEG


def photos(count: int) -> list[np.ndarray]:
    """Photos spread evenly over the test part."""
    items = [item for item in Grocery().items if item.split == "query"]
    return [
        np.array(decode(items[row].path))
        for row in np.linspace(0, len(items) - 1, count).astype(int)
    ]


def measured(
    name: str,
    form: Callable[[np.ndarray], np.ndarray],
    found: list[np.ndarray],
    seed: int,
    near: int,
    jump: int,
) -> dict[str, Any]:
    """One row: the share of photos of each kind that are told as each kind, and how far the figures
    are off.
    """
    table = np.zeros((4, 4), int)
    errors: dict[str, list[float]] = {"share": [], "sigma": []}
    started = time.perf_counter()
    for row, pixels in enumerate(progress(found, name)):
        for kind in range(4):
            noisy, share, sigma = planted(pixels, kind, np.random.default_rng([seed, row, kind]))
            told = _noise_level.measure(form(noisy), near=near, jump=jump)
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
        "photos": name,
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
        "seconds a photo": round((time.perf_counter() - started) / (4 * len(found)), 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out")
    args = parser.parse_args()
    found = photos(args.photos)
    rows = [
        measured(name, form, found, args.seed, near, jump)
        for near, jump in LIMITS
        for name, form in FORMS.items()
    ]
    for row in rows:
        print(
            f"{row['photos']:16} ({row['near']}, {row['jump']}): accuracy {row['accuracy']:.3f},"
            f" false alarms {row['false alarms']:.3f}, impulses {row['impulses found']:.3f},"
            f" gaussian {row['gaussian found']:.3f}"
        )
    write(
        args.out,
        "kinds of planted noise told by noise.measure, thresholds 0.01 and 10, on photos of"
        " Grocery",
        ("opencv-python-headless", "numpy", "pillow"),
        rows,
    )


if __name__ == "__main__":
    main()
