"""AutoAugment."""

from __future__ import annotations

from torchvision.transforms.v2 import AutoAugment as Torchvision
from torchvision.transforms.v2 import AutoAugmentPolicy

from ...registry import TRANSFORMS
from ._image_ops import ImageLike, through_pil
from ._rng import happens, probability


@TRANSFORMS.register()
class AutoAugment:
    """Two operations of a learned policy (Cubuk et al., 2019), as torchvision has it.

    Args:
        policy: "imagenet", "cifar10" or "svhn".
        p: how often it happens.

    Raises:
        ValueError: an unknown policy.

    Source: Cubuk et al., AutoAugment, CVPR 2019 (arXiv 1805.09501)
    Example: auto_augment(policy='imagenet', p=0.5)
    """

    def __init__(self, policy: str = "imagenet", p: float = 1.0) -> None:
        self.augment, self.p = Torchvision(AutoAugmentPolicy(policy)), probability(p)

    def __call__(self, image: ImageLike) -> ImageLike:
        return through_pil(self.augment, image) if happens(self.p) else image
