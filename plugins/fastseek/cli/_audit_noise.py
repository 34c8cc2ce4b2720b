"""The noise of many images as a table."""

from __future__ import annotations

import collections
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from ..data.images import BadImage, decode
from ..data.own_images import images_of
from ..data.transforms import _noise_level
from ..io import csv_rows
from ..io.atomic import check_apart, check_writable
from ..io.paths import PathLike
from ..io.processors import count_processors
from ..progress import progress
from ..structures import Item


def noise_file(images: PathLike, out: PathLike, share: float = 0.01, sigma: float = 10.0) -> str:
    """Measure the noise of images and write path,class,share,sigma, a row an image; `denoise(table)`
    reads it.

    Images that cannot be read are named with the reason in `<out>.rejects.csv`.

    Args:
        images: a folder, whose images are named by their path below it, or a table of images, by
            their id.
        out: the CSV file.
        share, sigma: thresholds, see `noise.measure`.

    Returns:
        how many images there are of each class.

    Raises:
        DataError: no image is there. UsageError: `out` cannot be written or is an input.
    """
    check_writable(out, [images])
    check_apart(f"{out}.rejects.csv", [images])
    items, _ = images_of(images)

    def look(item: Item) -> _noise_level.Noise | BadImage:
        try:
            return _noise_level.measure(np.asarray(decode(item.path)), share, sigma)
        except BadImage as error:
            return error

    with ThreadPoolExecutor(count_processors()) as pool:
        found = list(progress(pool.map(look, items), "measuring noise", len(items)))
    good = [
        (csv_rows.guard_cell(item.id), one.name, f"{one.share:.5f}", f"{one.sigma:.2f}")
        for item, one in zip(items, found, strict=True)
        if isinstance(one, _noise_level.Noise)
    ]
    csv_rows.write(out, ("path", "class", "share", "sigma"), good)
    bad = [
        (csv_rows.guard_cell(item.id), str(one))
        for item, one in zip(items, found, strict=True)
        if isinstance(one, BadImage)
    ]
    if bad:
        csv_rows.write(f"{out}.rejects.csv", ("path", "why"), bad)
    counts = collections.Counter(row[1] for row in good)
    told = ", ".join(f"{counts[name]} {name}" for name in _noise_level.NAMES)
    return f"{told}: {out}" + (f"; {len(bad)} cannot be read, see {out}.rejects.csv" if bad else "")
