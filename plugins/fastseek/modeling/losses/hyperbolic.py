"""Pairwise cross-entropy in the Poincaré ball."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F

from ...registry import LOSSES
from ._legal import check_not_negative, check_positive
from ._pairs import PairLoss, Pairs, log_one_plus_exp, log_sum_exp, mean_over_all


@LOSSES.register()
class Hyperbolic(PairLoss):
    """Every pair of one class against all rows of other classes, by a softmax over distances in the
    Poincaré ball.

    An embedding longer than `clip` is brought to that length; the exponential map at the origin
    takes it into the ball of curvature -c. A pair costs log(1 + sum over n of exp((D_ip - D_in) /
    temperature)); with two rows a class, as in the paper, that is its cross-entropy. Curvature 0
    takes the squared distance of vectors of length 1, its spherical form. The mean runs over the
    pairs of one class of all processes.

    A search by cosine stays near to it: the map keeps directions, and clipping makes most embeddings
    equally long.

    Args:
        on: name of the embedding.
        curvature: c.
        clip: the greatest length before the map; None leaves it out.
        temperature: what the distances are divided by.
        weight: factor of the loss.
        dims: embedding name -> D.

    Raises:
        ValueError: unknown embedding, a negative curvature, or a clip or temperature that is not
            positive.

    Source: Ermolov et al., Hyperbolic Vision Transformers: Combining Improvements in Metric
        Learning, CVPR 2022 (arXiv 2203.10833), section 3: D_hyp, the exponential map and the
        pairwise cross-entropy; clipping: Guo et al., Clipped Hyperbolic Classifiers Are
        Super-Hyperbolic Classifiers, CVPR 2022 (arXiv 2107.11472)
    Example: hyperbolic(on='gem', curvature=0.1, clip=2.3, temperature=0.2)
    """

    def __init__(
        self,
        on: str,
        curvature: float = 0.1,
        clip: float | None = 2.3,
        temperature: float = 0.2,
        weight: float = 1.0,
        *,
        dims: Mapping[str, int],
    ) -> None:
        super().__init__(on, weight, dims)
        check_not_negative(curvature=curvature)
        check_positive(temperature=temperature, clip=1.0 if clip is None else clip)
        self.curvature = curvature
        self.clip = clip
        self.temperature = temperature

    def prepare(self, vectors: torch.Tensor) -> torch.Tensor:
        """[B, D] in the ball, or of length 1 without curvature."""
        if not self.curvature:
            return F.normalize(vectors)
        length = torch.linalg.vector_norm(vectors, dim=1, keepdim=True).clamp(min=1e-12)
        clipped = length if self.clip is None else length.clamp(max=self.clip)
        root = self.curvature**0.5
        return vectors / length * (root * clipped).tanh() / root

    def cost(self, pairs: Pairs) -> torch.Tensor:
        """A scalar."""
        distance = self._distance(pairs) if self.curvature else pairs.distance.square()
        logits = -distance / self.temperature
        others = log_sum_exp(logits, pairs.other).unsqueeze(1)
        return mean_over_all(log_one_plus_exp(others - logits), pairs.same)

    def _distance(self, pairs: Pairs) -> torch.Tensor:
        """2 / sqrt(c) artanh(sqrt(c) |-x (+) y|), [B, M].

        The length of the Möbius sum is |x - y| / sqrt((1 - c|x|^2)(1 - c|y|^2) + c|x - y|^2).
        """
        flat, root = pairs.distance, self.curvature**0.5
        room = 1 - self.curvature * pairs.anchors.square().sum(dim=1, keepdim=True)
        rooms = room * (1 - self.curvature * pairs.rows.square().sum(dim=1))
        # At the edge of the ball, where tanh rounds to 1, nothing is left of either room.
        rooms = rooms.clamp(min=torch.finfo(flat.dtype).eps ** 2)
        share = root * flat / (rooms + self.curvature * flat.square()).sqrt()
        edge = 1 - torch.finfo(flat.dtype).eps
        return 2 / root * share.clamp(max=edge).atanh()
