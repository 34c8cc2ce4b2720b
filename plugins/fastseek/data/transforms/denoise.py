"""Repair of noisy images."""

from __future__ import annotations

import logging
import pathlib

import numpy as np
from PIL import Image

from ...errors import DataError
from ...io import csv_rows
from ...io.paths import PathLike, locate
from ...registry import TRANSFORMS
from . import _noise_level
from ._filters import bilateral, median
from ._image_ops import ImageLike, through_pil
from ._rng import probability

logger = logging.getLogger(__name__)


@TRANSFORMS.register()
class Denoise:
    """Repair an image by its noise: impulses with a 5 x 5 median, then Gaussian with a bilateral
    filter (0, 100, 12).

    Stands first in a recipe, because scaling hides noise. The kind of noise is measured
    (`noise.measure`), or looked up in the table that `tools/audit.py noise` wrote; what the filters
    do to clean images is not worth having. DIGIX 2020, second place; the detection is our own.

    Args:
        table: a CSV file with the columns path and class (0 or clean, 1 or impulse, 2 or gaussian,
            3 or both); "" measures.
        share, sigma: thresholds of the measurement, see `noise.measure`.
        filters: which filters are used, of "median" and "bilateral".

    Raises:
        ValueError: a threshold or filter that means nothing.
        DataError: the table cannot be read; when called, an image it does not list.

    Source: Huawei DIGIX 2020 image retrieval, second place
        (github.com/lin-honghui/Huawei_DIGIX_ImageRetri_Top2)
    Example: denoise(filters=('median',))
    """

    fixed = True

    def __init__(
        self,
        table: str = "",
        share: float = 0.01,
        sigma: float = 10.0,
        filters: tuple[str, ...] = ("median", "bilateral"),
    ) -> None:
        if sigma < 0 or isinstance(filters, str) or not set(filters) <= {"median", "bilateral"}:
            raise ValueError(
                f"sigma={sigma}, filters={filters!r}: expected sigma from 0, filters of ('median', "
                "'bilateral')"
            )
        self.share, self.sigma, self.filters = probability(share), sigma, tuple(filters)
        self.files: tuple[pathlib.Path, ...] = ()
        self.listed: dict[str, int] | None = None
        if table:
            self.files = (locate(table, "the noise of every image"),)
            self.listed = read_table(self.files[0])

    def __call__(self, image: ImageLike) -> ImageLike:
        return through_pil(self._repair, image)

    def _repair(self, image: Image.Image) -> Image.Image:
        kind = self._kind(image)
        if kind & _noise_level.IMPULSE and "median" in self.filters:
            image = median(image)
        if kind & _noise_level.GAUSSIAN and "bilateral" in self.filters:
            image = bilateral(image)
        return image

    def _kind(self, image: Image.Image) -> int:
        path = image.info.get("path", "")
        if self.listed is not None:
            return _looked_up(self.listed, path)
        found = _noise_level.measure(np.asarray(image), self.share, self.sigma)
        if found.kind:
            logger.debug(
                "%s: %s, impulses %.3f, sigma %.1f",
                path or "an image",
                found.name,
                found.share,
                found.sigma,
            )
        return found.kind


def read_table(file: PathLike) -> dict[str, int]:
    """Path -> kind of noise, of a table with the columns path and class.

    Raises:
        DataError: it cannot be read, or a class is none; names file and line.
    """
    rows = csv_rows.read(file, ("path", "class"), allow_mark=True, raw_names=True)
    return {
        csv_rows.unguard_cell(path): _class(kind, f"{file}:{line}") for line, (path, kind) in rows
    }


def _class(text: str, where: str) -> int:
    known = [*_noise_level.NAMES, *map(str, range(len(_noise_level.NAMES)))]
    if text not in known:
        raise DataError(f"{where}: class {text!r} is none of {', '.join(known)}")
    return known.index(text) % len(_noise_level.NAMES)


def _looked_up(table: dict[str, int], path: str) -> int:
    """The kind of the image whose listed path is the longest end of its own."""
    parts = pathlib.PurePath(path).parts
    # The table may have been made with the images in another folder.
    for start in range(len(parts)):
        kind = table.get(pathlib.PurePath(*parts[start:]).as_posix())
        if kind is not None:
            return kind
    raise DataError(
        f"{path or 'an image without a path'}: the table of noise does not list it: make the table"
        " of all images, or let denoise() measure"
    )
