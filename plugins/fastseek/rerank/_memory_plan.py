"""What k-reciprocal re-ranking will cost, told before it starts."""

from __future__ import annotations

import dataclasses
import math
import time

from ..errors import RunError
from ..knn.nearest import GALLERY_ROWS, encode_gallery, nearest_coded
from ..knn.scan import choose
from ..progress import tell
from ..structures import Embeddings
from ._k_reciprocal_encoding import count_most_entries

GB = 10**9
BESIDE = (
    160 << 20
)  # blocks of scores, of sets and of gathered vectors, whatever the size of the work
SPARE = 1 << 30
TOLD = 10**12  # multiplications from which the time is worth telling: some ten seconds
SAMPLE = (1024, 65536)  # queries and images searched to learn how fast this machine is
PER_IMAGE = 1.2e-5  # seconds an image beside its search at k1 = 20; they grow with the square of k1


@dataclasses.dataclass(frozen=True)
class Budget:
    """Bytes that N images of D dimensions take, beside the embeddings that were given.

    Args:
        images, dim: N and D.
        width: neighbors kept of an image.
        k1, k2: as for `k_reciprocal`.
        rows: gallery rows that the search holds at once.
        every: whether all averaged encodings are held, and once more the other way round.
    """

    images: int
    dim: int
    width: int
    k1: int
    k2: int
    rows: int
    every: bool

    @classmethod
    def plan(
        cls, images: int, dim: int, k1: int, k2: int, every: bool, max_ram: float | None
    ) -> Budget:
        """The budget, with a search in smaller runs where memory is short."""
        rows = min(GALLERY_ROWS, images)
        if max_ram is not None:
            rows = int(
                min(rows, max(1024, max_ram * GB / 16 / (8 * dim)))
            )  # more than any float holds is no limit
        return cls(images, dim, max(k1 + 1, k2), k1, k2, rows, every)

    def bytes(self, entries: float) -> float:
        """At most, when a neighborhood has so many entries in the mean."""
        fixed = self.images * (4 * self.dim + 48 * self.width + 256)
        fixed += BESIDE + 6 * self.dim * self.rows
        whole = min(self.images, entries * self.k2)
        return fixed + self.images * (16 * entries + (32 * whole if self.every else 0))

    @property
    def most(self) -> float:
        """Bytes at most, whatever the images are."""
        return self.bytes(count_most_entries(self.images, self.k1))

    @property
    def least(self) -> float:
        """Bytes at least: an image is in its own neighborhood."""
        return self.bytes(1)

    def room(self, entries: float, max_ram: float | None) -> float:
        """Bytes left when a neighborhood has so many entries in the mean; about a gigabyte without
        a promise.
        """
        return SPARE if max_ram is None else max_ram * GB - self.bytes(entries)

    def entries(self, max_ram: float | None) -> float:
        """How many entries all neighborhoods together may have within `max_ram` GB.

        Raises:
            RunError: not even the smallest ones fit; says how much is needed.
        """
        if max_ram is None:
            return math.inf
        if self.least > max_ram * GB:
            raise RunError(
                f"re-ranking {self.images} images of {self.dim} dimensions takes at least"
                f" {self.least / GB:.2f} GB, at most {self.most / GB:.2f}: max_ram={max_ram} is too"
                " little"
            )
        low, high = 1.0, float(count_most_entries(self.images, self.k1))
        for _ in range(40):
            middle = (low + high) / 2
            low, high = (middle, high) if self.bytes(middle) <= max_ram * GB else (low, middle)
        return (high if self.most <= max_ram * GB else low) * self.images


def tell_costs(both: Embeddings, metric: str, budget: Budget) -> None:
    """Write to stderr how long the work will take and how much memory, when it is large."""
    images, dim = both.vectors.shape
    if images**2 * dim < TOLD:
        return
    few, many = (Embeddings(both.ids[:count], both.vectors[:count]) for count in SAMPLE)
    scan = choose("auto", metric, images**2 * dim)
    # Coded beforehand: in the work itself a run of images is coded once for all that are compared
    # with it.
    coded = encode_gallery(many, metric, scan.name)
    first = Embeddings(few.ids[:64], few.vectors[:64])
    nearest_coded(first, coded, budget.width, lowest=True)
    start = time.perf_counter()
    nearest_coded(few, coded, budget.width, lowest=True)
    rate = len(few) * len(many) / (time.perf_counter() - start)
    seconds = images**2 / rate + images * PER_IMAGE * (budget.k1 / 20) ** 2
    tell(
        f"k-reciprocal re-ranking of {images} images: about {seconds:.0f} s and "
        f"{budget.bytes(4 * budget.k1) / GB:.1f} GB (at most {budget.most / GB:.1f})"
    )
