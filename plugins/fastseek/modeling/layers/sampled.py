"""Which classes one training step looks at."""

from __future__ import annotations

import math

import torch


class Sampled:
    """The classes of the batch and others drawn at random, as many together in every step.

    An et al., Killing Two Birds with One Stone: Efficient and Robust Training of Face Recognition
    CNNs by Partial FC, 2022. Every process draws the same numbers, and keeps its own classes;
    without the classes left out nothing waits for the device.

    Args:
        classes: C.
        share: of the classes, in (0, 1].
        seed: of the draw, together with `step`, which the owner sets.

    Raises:
        ValueError: an illegal share.
    """

    def __init__(self, classes: int, share: float, seed: int) -> None:
        if isinstance(share, bool) or not 0 < share <= 1:
            raise ValueError(f"sample is a share of the classes in (0, 1], got {share!r}")
        self.classes, self.share, self.seed, self.step = classes, share, seed, 0

    def __call__(self, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """int64 [B] -> the chosen classes, int64 [n] rising, and the targets as places among them.

        n is share * C, or B where that is more, or C.

        Raises:
            RuntimeError: a target that is no class.
        """
        many = min(self.classes, max(math.ceil(self.share * self.classes), len(targets)))
        generator = torch.Generator().manual_seed((self.seed * 1_000_003 + self.step) % 2**63)
        luck = torch.rand(self.classes, generator=generator).to(targets.device)
        # above every number drawn: the classes of the batch are always among the chosen
        luck = luck.scatter(0, targets, 2.0)
        chosen = luck.topk(many).indices.sort().values
        return chosen, torch.searchsorted(chosen, targets)
