"""Parts of other images."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable

import torch
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

from ...registry import TRANSFORMS
from ._image_ops import ImageLike, paint, sides, to_pil, to_tensor
from ._rng import happens, integer, probability, span, uniform

Size = tuple[int, int]
_TRIES = 10


@TRANSFORMS.register()
class RandomPatch:
    """Lay a part of another image over a random place (as in Zhou et al., Omni-Scale Network,
    2019).

    The parts come from a pool of fixed size. Elsewhere each worker fills its pool with images it
    happened to see, so that a batch depends on the number of workers; here part j of the pool is
    cut out of a training image that j alone decides, when it is first wanted, and a batch depends
    on the seed only. Without a training loader, which lends the images, the parts are cut out of
    the image itself.

    Args:
        p: how often it happens.
        pool: how many parts there are; a worker holds no more.
        area: a part's share of the image, from and to, drawn evenly.
        ratio: its height / width is drawn evenly from ratio to 1 / ratio.
        flip: how often the part is mirrored.
        rotate: how often it is turned, by up to `angle` degrees, its corners then black.
        angle: degrees.

    Raises:
        ValueError: a range that is none, or an empty pool.

    Source: Zhou et al., Omni-Scale Feature Learning for Person Re-Identification, ICCV 2019 (arXiv
        1905.00953)
    Example: random_patch(p=0.05, pool=1000)
    """

    def __init__(
        self,
        p: float = 0.05,
        pool: int = 1000,
        area: tuple[float, float] = (0.01, 0.2),
        ratio: float = 0.2,
        flip: float = 0.5,
        rotate: float = 0.5,
        angle: float = 15.0,
    ) -> None:
        if pool < 1 or not 0 < ratio <= 1 or angle < 0:
            raise ValueError(
                f"pool={pool}, ratio={ratio}, angle={angle}: expected a pool of at least one part,"
                " a ratio above 0 up to 1 and an angle from 0"
            )
        self.p, self.flip, self.rotate = probability(p), probability(flip), probability(rotate)
        self.pool, self.area, self.ratio, self.angle = pool, span("area", area, 0, 1), ratio, angle
        self.read: Callable[[int], Image.Image | None] | None = None
        self.count = 0
        self._parts: OrderedDict[tuple[int, Size], Image.Image] = OrderedDict()

    def lend(self, read: Callable[[int], Image.Image | None], count: int) -> None:
        """Take the training images: `read(row)` gives one of `count`, None when it cannot be
        read.
        """
        self.read, self.count = read, count

    def __call__(self, image: ImageLike) -> ImageLike:
        if not happens(self.p):
            return image
        number, size = integer(0, self.pool - 1), sides(image)
        if self.read is None:
            part = self._cut(_seeded_generator(number), size, image)
        else:
            part = self._part(self.read, number, size)
        if happens(self.flip):
            part = F.horizontal_flip(part)
        if happens(self.rotate):
            part = F.rotate(part, uniform(-self.angle, self.angle), InterpolationMode.BILINEAR)
        patch = to_tensor(part)
        (height, width), (h, w) = size, patch.shape[1:]
        return paint(image, integer(0, height - h), integer(0, width - w), patch)

    def _part(
        self, read: Callable[[int], Image.Image | None], number: int, size: Size
    ) -> Image.Image:
        """Part `number` of the pool for images of this size; the one used longest ago makes
        room.
        """
        key = number, size
        if key in self._parts:
            self._parts.move_to_end(key)
            return self._parts[key]
        # The number alone decides the part, whichever worker cuts it first.
        random = _seeded_generator(number)
        rows = (int(torch.randint(self.count, (), generator=random)) for _ in range(_TRIES))
        source = next((image for image in map(read, rows) if image is not None), None)
        black = Image.new("RGB", (1, 1))
        self._parts[key] = self._cut(random, size, source or black)
        if len(self._parts) > self.pool:
            self._parts.popitem(last=False)
        return self._parts[key]

    def _cut(self, random: torch.Generator, size: Size, source: ImageLike) -> Image.Image:
        """A part with its share of the area of `size`, from a place that takes the same share of
        `source`.
        """

        def draw(low: float, high: float) -> float:
            return low + (high - low) * float(torch.rand((), generator=random, dtype=torch.float64))

        area, shape = draw(*self.area), draw(self.ratio, 1 / self.ratio)
        shares = [min(1.0, math.sqrt(area * shape)), min(1.0, math.sqrt(area / shape))]
        inner = [
            max(1, round(share * side)) for share, side in zip(shares, sides(source), strict=True)
        ]
        corner = [
            int(draw(0, side - part + 1)) for side, part in zip(sides(source), inner, strict=True)
        ]
        outer = [max(1, round(share * side)) for share, side in zip(shares, size, strict=True)]
        return F.resize(F.crop(to_pil(source), *corner, *inner), outer)


def _seeded_generator(number: int) -> torch.Generator:
    return torch.Generator().manual_seed(number)
