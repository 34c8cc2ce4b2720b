"""Cross-entropy over very many classes, a chunk of classes at a time: logits of all classes are
never held at once.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch.autograd.function import once_differentiable

from .class_shard import Block, combine, nearest_class, own_columns
from .margin import penalize
from .precision import full_precision

# Numbers in the largest tensor of the plain computation, from which on chunks are worth it.
AUTOMATIC = 2**24
# Numbers in the tensors of one chunk.
CHUNK = 2**23


class Classifier(NamedTuple):
    """What a cosine classifier is beside its weights.

    Args:
        k: centers a class.
        s: scale of the cosines.
        smoothing: label smoothing of the cross-entropy.
        chunk: classes that are looked at together.
    """

    k: int
    s: float
    smoothing: float
    chunk: int


def chunk_for(classes: int, k: int, rows: int, dim: int) -> int:
    """How many classes to look at together; 0 when the plain computation is small enough for all at
    once.

    The plain computation holds a unit copy of all centers, [C * k, D], and the cosines, [B, C * k].
    """
    if max(rows, dim) * k * classes <= AUTOMATIC:
        return 0
    return max(64, CHUNK // ((rows + dim) * k))


def streamed_loss(
    embedding: torch.Tensor,
    weight: torch.Tensor,
    targets: torch.Tensor,
    margin: torch.Tensor,
    how: Classifier,
    block: Block | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The mean cross-entropy over s * cosine with a margin at the own class, and the class nearest
    to every row.

    Between forward and backward it keeps nothing but its inputs and two numbers a row: the margin,
    and the log of the summed exponentials, gathered chunk by chunk. Backward computes every chunk
    again. Its memory is the gradient of `weight` and three tensors of `chunk * k` rows. Value and
    gradients are those of the plain computation; there is no second derivative.

    Args:
        embedding: float32 (or float64) [B, D], of unit length.
        weight: [C * k, D], the k centers of a class one after the other, of any length.
        targets: int64 [B].
        margin: [C], radians.
        how: k, s, smoothing and chunk.
        block: which of the C classes `weight` holds, where other processes hold the others; None
            for all.

    Returns:
        scalar, and int64 [B].
    """
    block = block or Block(0, len(margin), False)
    angle = margin.to(embedding.dtype).gather(0, targets)[:, None]
    return _Streamed.apply(embedding, weight, targets, angle, how, block)


class _Streamed(torch.autograd.Function):
    """See `streamed_loss`."""

    @staticmethod
    def forward(
        ctx: Any,
        embedding: torch.Tensor,
        weight: torch.Tensor,
        targets: torch.Tensor,
        angle: torch.Tensor,
        how: Classifier,
        block: Block,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        total = embedding.new_full((len(embedding),), -torch.inf)
        own, everything = torch.zeros_like(total), torch.zeros_like(total)
        best, nearest = total.clone(), torch.zeros_like(targets)
        for start in range(0, len(weight) // how.k, how.chunk):
            cosine, _, _ = _cosines(embedding, weight, start, how)
            top, place = cosine.max(dim=1)
            part = block._replace(first=block.first + start)
            nearest = torch.where(top > best, place + part.first, nearest)
            best = torch.maximum(top, best)
            logits, column, here = _logits(cosine, targets, angle, part, how)
            total = torch.logaddexp(total, logits.logsumexp(dim=1))
            own += torch.where(here, logits.gather(1, column), 0).squeeze(1)
            everything += logits.sum(dim=1)
        total, own, everything = combine(total, own, everything, block)
        nearest = nearest_class(best, nearest, block)
        ctx.save_for_backward(embedding, weight, targets, angle, total)
        ctx.how, ctx.block = how, block
        ctx.mark_non_differentiable(nearest)
        aim = (1 - how.smoothing) * own + how.smoothing / block.classes * everything
        return (total - aim).mean(), nearest

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor, _: Any) -> tuple[torch.Tensor | None, ...]:
        embedding, weight, targets, angle, total = ctx.saved_tensors
        how: Classifier = ctx.how
        to_embedding, to_weight = torch.zeros_like(embedding), torch.empty_like(weight)
        factor = how.s * grad / len(embedding)
        with full_precision(embedding):
            for start in range(0, len(weight) // how.k, how.chunk):
                cosine, unit, place = _cosines(embedding, weight, start, how)
                part = ctx.block._replace(first=ctx.block.first + start)
                slope = _slope(cosine, targets, angle, total, part, how).mul_(factor)
                if how.k > 1:
                    slope = slope.new_zeros(len(slope), len(unit)).scatter_(1, place, slope)
                to_embedding += slope @ unit
                _through_length(slope.T @ embedding, unit, weight, start * how.k, to_weight)
        return to_embedding, to_weight, None, None, None, None


def _cosines(
    embedding: torch.Tensor, weight: torch.Tensor, start: int, how: Classifier
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Of one chunk: cosines [B, n], its unit centers [n * k, D], and the row of the nearest center
    [B, n].
    """
    part = weight[start * how.k : (start + how.chunk) * how.k].to(embedding.dtype)
    unit = F.normalize(part)
    cosine = embedding @ unit.T
    if how.k == 1:
        return cosine, unit, cosine
    best = cosine.unflatten(1, (-1, how.k)).max(dim=2)
    first = torch.arange(0, len(unit), how.k, device=unit.device)
    return best.values, unit, best.indices + first


def _logits(
    cosine: torch.Tensor, targets: torch.Tensor, angle: torch.Tensor, part: Block, how: Classifier
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Scaled cosines with the margin [B, n]; the column of the own class and whether it is in this
    chunk, [B, 1].
    """
    column, here = own_columns(cosine, targets, part)
    own = cosine.gather(1, column)
    moved = torch.where(here, penalize(own, angle), own)
    return cosine.scatter(1, column, moved).mul_(how.s), column, here


def _slope(
    cosine: torch.Tensor,
    targets: torch.Tensor,
    angle: torch.Tensor,
    total: torch.Tensor,
    part: Block,
    how: Classifier,
) -> torch.Tensor:
    """The derivative of every row's loss by the cosines of one chunk, over s, [B, n]."""
    logits, column, here = _logits(cosine, targets, angle, part, how)
    slope = (logits - total[:, None]).exp_().sub_(how.smoothing / part.classes)
    other = slope.gather(1, column)
    with torch.enable_grad():
        own = cosine.gather(1, column).detach().requires_grad_()
        (bend,) = torch.autograd.grad(penalize(own, angle).sum(), own)
    return slope.scatter_(1, column, torch.where(here, (other - (1 - how.smoothing)) * bend, other))


def _through_length(
    grad: torch.Tensor, unit: torch.Tensor, weight: torch.Tensor, first: int, out: torch.Tensor
) -> None:
    """Write the gradient of the centers, given that of the unit centers, into their rows of
    `out`.
    """
    rows = slice(first, first + len(unit))
    length = weight[rows].to(unit.dtype).norm(dim=1, keepdim=True).clamp(min=1e-12)
    out[rows] = grad.sub_((grad * unit).sum(dim=1, keepdim=True) * unit).div_(length)
