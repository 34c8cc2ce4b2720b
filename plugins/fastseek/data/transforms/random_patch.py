"""Parts of other photos."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable

import torch
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

from ...registry import TRANSFORMS
from ._image_ops import Picture, paint, sides, to_pil, to_tensor
from ._rng import happens, integer, probability, span, uniform

Size = tuple[int, int]
_TRIES = 10


@TRANSFORMS.register()
class RandomPatch:
    """Lay a part of another photo over a random place (as in Zhou et al., Omni-Scale Network,
    2019).

    The parts come from a pool of fixed size. Elsewhere each worker fills its pool with photos it
    happened to see, so that a batch depends on the number of workers; here part j of the pool is
    cut out of a training photo that j alone decides, when it is first wanted, and a batch depends
    on the seed only. Without a training loader, which lends the photos, the parts are cut out of
    the photo itself.

    Args:
        p: how often it happens.
        pool: how many parts there are; a worker holds no more.
        area: a part's share of the photo, from and to, drawn evenly.
        ratio: its height / width is drawn evenly from ratio to 1 / ratio.
        flip: how often the part is mirrored.
        rotate: how often it is turned, by up to `angle` degrees, its corners then black.
        angle: degrees.

    Raises:
        ValueError: a range that is none, or an empty pool.
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
        self.photo: Callable[[int], Image.Image | None] | None = None
        self.count = 0
        self._parts: OrderedDict[tuple[int, Size], Image.Image] = OrderedDict()

    def lend(self, photo: Callable[[int], Image.Image | None], count: int) -> None:
        """Take the training photos: `photo(row)` gives one of `count`, None when it cannot be
        read.
        """
        self.photo, self.count = photo, count

    def __call__(self, image: Picture) -> Picture:
        if not happens(self.p):
            return image
        number, size = integer(0, self.pool - 1), sides(image)
        part = (
            self._part(number, size)
            if self.photo
            else self._cut(_seeded_generator(number), size, image)
        )
        if happens(self.flip):
            part = F.horizontal_flip(part)
        if happens(self.rotate):
            part = F.rotate(part, uniform(-self.angle, self.angle), InterpolationMode.BILINEAR)
        patch = to_tensor(part)
        (height, width), (h, w) = size, patch.shape[1:]
        return paint(image, integer(0, height - h), integer(0, width - w), patch)

    def _part(self, number: int, size: Size) -> Image.Image:
        """Part `number` of the pool for photos of this size; the one used longest ago makes
        room.
        """
        key = number, size
        if key in self._parts:
            self._parts.move_to_end(key)
            return self._parts[key]
        random = _seeded_generator(number)
        for _ in range(_TRIES):
            photo = self.photo(int(torch.randint(self.count, (), generator=random)))
            if photo is not None:
                break
        else:
            photo = Image.new("RGB", (1, 1))
        self._parts[key] = self._cut(random, size, photo)
        if len(self._parts) > self.pool:
            self._parts.popitem(last=False)
        return self._parts[key]

    def _cut(self, random: torch.Generator, size: Size, photo: Picture) -> Image.Image:
        """A part with its share of the area of `size`, from a place that takes the same share of
        `photo`.
        """

        def draw(low: float, high: float) -> float:
            return low + (high - low) * float(torch.rand((), generator=random, dtype=torch.float64))

        area, shape = draw(*self.area), draw(self.ratio, 1 / self.ratio)
        shares = [min(1.0, math.sqrt(area * shape)), min(1.0, math.sqrt(area / shape))]
        inner = [
            max(1, round(share * side)) for share, side in zip(shares, sides(photo), strict=True)
        ]
        corner = [
            int(draw(0, side - part + 1)) for side, part in zip(sides(photo), inner, strict=True)
        ]
        outer = [max(1, round(share * side)) for share, side in zip(shares, size, strict=True)]
        return F.resize(F.crop(to_pil(photo), *corner, *inner), outer)


def _seeded_generator(number: int) -> torch.Generator:
    return torch.Generator().manual_seed(number)
